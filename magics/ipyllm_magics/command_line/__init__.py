"""Reads the line of a magic: options, values, completion."""
