"""What the design promises in numbers, measured: ``python -m benchmarks quota|cpu|size|looks``."""
