"""Completes the line of a magic with Tab."""
