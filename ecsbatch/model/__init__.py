"""The words: servers, plans, events, and the state of a run that is folded from them.

Read `events.py` first, then `state.py`: whatever is known of a run is what its events say.
"""
