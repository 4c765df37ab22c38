"""Rollouts: a plan carried out wave by wave on the engine, with checks of servers and gates between waves.

Read `rollout.py` first, then `driver.py` (its loop), `session.py` (a run while this process holds it), `dispatcher.py`
(who is sent next) and `barrier.py` (what stands before a wave). `targets.py` says who is meant before there is a plan;
`follower.py` reads a run back from the store, whoever holds it.
"""
