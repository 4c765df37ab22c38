"""What the program talks about: servers, plans, events, and the state of a run that is folded from its events.

Read `events.py` first, then `state.py`: whatever is known of a run is what its events say.
"""
