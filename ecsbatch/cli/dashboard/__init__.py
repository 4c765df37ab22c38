"""The live page over HTTP: who may see it, what it is told, and how many watch without anybody waiting for them.

Read `serve.py` first. `access.py` decides who is answered, `token_file.py` keeps the token, `routes.py` answers,
`board.py` follows a run for all who watch it, `boards.py` has those of all runs, `runs_list.py` lists the runs,
`stream.py` is one viewer's stream of events, `stories.py` what happened to one server, `steering.py` what may be asked
of a run. What a page is told is made in `ecsbatch.views.page`.
"""
