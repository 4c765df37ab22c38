"""Every setting, defined once, and where its value came from.

Read `settings.py` first; `declare.py` says how a class of settings is made and checked, `types.py` and `words.py` read
and write values, `sources.py` merges flags, environment and file.
"""

from ecsbatch.moved import from_homes

__getattr__ = from_homes(__name__)
