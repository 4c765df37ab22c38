"""Rollouts: a plan carried out wave by wave on the engine, with checks of servers and gates between waves.

Read `rollout.py` first, then `driver.py` (its loop), `session.py` (a run while this process holds it), `dispatcher.py`
(who is sent next) and `barrier.py` (what stands before a wave). `targets.py` says who is meant before there is a plan.

Runs that another process holds are asked about in `history.py` and steered in `steering.py`; `follower.py` reads one
back from the store, `followed_runs.py` keeps those last asked about, `followed_journal.py` reads one for many.
"""

from ecsbatch.moved import from_homes

__getattr__ = from_homes(__name__)
