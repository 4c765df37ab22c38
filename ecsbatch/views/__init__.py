"""Ways to see a run: they read its state and its events, and never steer it."""
