"""Proof from a run's record that its promises were kept, by a replay that shares no code with what it judges.

Read `replay.py` first, then `requests.py`, which judges what was sent, and `quota_windows.py`, which judges the quota.
`account.py` holds what both know of the run so far, `bookkeeping.py` counts it, `receipt.py` is what comes out.
"""
