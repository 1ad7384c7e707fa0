"""Simulations of the statistics: how often intervals cover the truth, and how often conclusions are wrong.

Each module in ``tables`` has one table, as ``SIMULATION``.
"""
