"""The engine: takes servers from queues, restarts them in batches within the quota, and finds out how each ended.

Read `pipeline.py` first: it puts the parts of one site together. A server passes through `server_queue.py`,
`producer.py` (looks at it and takes tokens by `limiter.py`), `submitter.py` (sends it), `poller.py` (watches the job)
and `resolver.py` (what was seen becomes an outcome); `journal.py` writes every step down before it counts. What the
engine needs of others stands in `ports.py`.
"""
