"""Benchmarks of the speed claims, side by side with alternatives in one run; `make bench` prints them as ratios."""
