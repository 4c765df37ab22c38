"""What a run may do now: go on, wait or stop; why; and what would make it go on.

Read `decide.py` first. All of it is pure: it takes a state and returns a decision. `picker.py` chooses the servers that
go next, `hold_ups.py` finds what a run waits for and `explain.py` what a server does, `resume_options.py` says how a
run that stands still can go on. `progress.py` puts together how a run goes on, for whoever shows it.
"""
