"""Who we are: ways to sign a request, and where keys and tokens come from.

Read `schemes.py` first, then `credentials.py`. `source.py` follows a key that is changed in its file or variables,
`refresh.py` replaces keys and tokens before they expire, `iam.py` and `metadata.py` are where it gets them. `signer.py`
is what the client uses, and `key_guard.py` keeps a key that is refused from being locked.
"""

from ecsbatch.moved import from_homes

__getattr__ = from_homes(__name__)
