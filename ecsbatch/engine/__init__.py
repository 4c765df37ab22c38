"""From the queue to the outcome: queue, precheck, token bucket, submit, poll, outcome.

Read `pipeline.py` first: it puts the parts of one site together. A server's way goes through `server_queue.py`,
`producer.py` (looks at it and takes tokens by `limiter.py`), `submitter.py` (sends it), `poller.py` (watches the job)
and `resolver.py` (what was seen becomes an outcome); `journal.py` writes every step down before it counts.
"""
