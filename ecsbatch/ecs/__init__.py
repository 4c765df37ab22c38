"""The ECS API, as much of it as restarting servers takes.

Read `client.py` first: `EcsClient` submits restarts, looks at jobs and servers, and selects servers. `transport.py`
signs and sends one request, `sender.py` is the seam to the network and `aiohttp_sender.py` the real one, `wire.py`
reads answers, `error_codes.py` turns refusals into errors, `auth/` signs requests, `endpoint.py` says where they go.
`inventory.py` finds servers, by `listing.py` (page by page) and `sweep.py` (looks at many by their ids).
"""
