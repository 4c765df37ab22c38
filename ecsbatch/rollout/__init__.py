"""A plan carried out wave by wave on the engine; checks of servers' health, gates between waves.

Read `rollout.py` first, then `session.py` (a run while this process holds it), `dispatcher.py` (who is sent next) and
`barrier.py` (what stands before a wave).
"""
