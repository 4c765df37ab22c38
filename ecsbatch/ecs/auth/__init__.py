"""Who we are: ways to sign a request, and where keys and tokens come from.

Read `schemes.py` first, then `credentials.py`. `refresh.py` replaces keys and tokens before they expire, `iam.py` and
`metadata.py` are where it gets them, `signer.py` is what the client uses.
"""

from ecsbatch.moved import from_homes

__getattr__ = from_homes(__name__)
