"""Who is restarted, in which waves, with which limits: the plan in numbers.

Read `strategy.py` first: `make_plan` turns a fleet and a strategy into a plan. `selection.py` takes and filters
servers, `fleet_file.py` reads a list of them, `lookup.py` finds them by their names, `precheck.py` says who must be
left alone, `time_model.py` how long a plan takes, `plan_file.py` keeps one in a file, `drift.py` compares it with the
cloud of now.
"""
