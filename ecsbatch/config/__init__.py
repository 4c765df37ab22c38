"""Every setting, defined once, and where its value came from.

Read `settings.py` first; `types.py` reads and writes values, `sources.py` merges flags, environment and file.
"""
