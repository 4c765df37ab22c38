"""What the live page and the HTML report are made of: one run as small messages and columns. Nothing is sent here.

Read `messages.py` first: the JSON of both, whose parts the other files are. `cells.py` is a byte for each server,
`columns.py` what does not change of a fleet, `details.py` what the cloud said of servers, `times.py` when they were
sent and ended, `timeline.py` the run over time, `feed.py` what happened in words. `html_report.py` writes the report,
`assets/` is what a browser gets. All indexes are of the plan's fleet.
"""
