"""The speed claims, each measured beside its rival in one run. `make bench` prints them; ratios are what counts."""
