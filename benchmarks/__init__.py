"""What the design promises in numbers, measured beside what one would pick instead: ``python -m benchmarks``."""
