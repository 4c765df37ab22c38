"""The ECS API, as much of it as restarting servers takes.

Read `client.py` first: `EcsClient` submits restarts and looks at jobs and servers. `sender.py` is the seam to the
network and `aiohttp_sender.py` the real one, `wire.py` reads answers, `error_codes.py` turns refusals into errors,
`auth/` signs requests, `endpoint.py` says where they go. `sweep.py` looks at many servers and `inventory.py` finds
those that are to be restarted.
"""
