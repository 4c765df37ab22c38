"""A simulated ECS API: for tests, for `rehearse` and `demo`, and for programs that embed ecsbatch.

Read `cloud.py` first. The simulated cloud is written from the API reference alone and shares no code with the rest of
the package, so that a misreading of the API cannot cancel itself out. `sender.py` and `server.py` put it behind the
client's seam and behind real HTTP; `virtual_time.py` is the event loop in which a rollout of hours runs in seconds.
"""
