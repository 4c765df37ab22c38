"""Proof from a run's record that its promises were kept, by a replay that shares no code with what it judges.

Read `replay.py` first.
"""
