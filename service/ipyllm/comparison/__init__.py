"""Compares models on one prompt: arms, votes, report."""
