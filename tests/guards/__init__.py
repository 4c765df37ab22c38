"""Guards on what work costs, by counts that no machine changes: each is as in `figures`, or a test fails.

``python -m tests.guards`` measures and shows, ``python -m tests.guards --renew`` rewrites the table. A figure that has
become worse wants a reason in the commit; one that has become better is written down, so that it stays.
"""
