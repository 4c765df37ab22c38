"""Who is restarted, in which waves, with which limits: the plan in numbers.

Read `strategy.py` first: `make_plan` turns a fleet and a strategy into a plan.
"""
