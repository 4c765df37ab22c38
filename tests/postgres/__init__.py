"""Real PostgreSQL servers for tests: shared, stopped, cut off, pooled, encrypted, promoted."""
