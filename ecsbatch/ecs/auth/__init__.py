"""Who we are: ways to sign a request, and where keys and tokens come from.

Read `schemes.py` first, then `credentials.py`.
"""
