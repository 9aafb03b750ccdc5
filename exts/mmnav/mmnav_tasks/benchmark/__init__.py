"""What ``scripts/benchmark.py`` measures, and what it is compared with."""
