"""What a run may do now: go on, wait or stop; why; and what would make it go on.

Read `decide.py` first. All of it is pure: it takes a state and returns a decision. `picker.py` chooses the servers that
go next, `explain.py` says what a server waits for, `resume_options.py` how a run that stands still can go on.
"""
