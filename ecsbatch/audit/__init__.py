"""Proof from a run's record that its promises were kept, by a replay that shares no code with what it judges.

Read `replay.py` first, then `quota_windows.py`, which judges the quota. `bookkeeping.py` counts what the replay needs,
`receipt.py` is what comes out.
"""
