"""Parses the line of a magic: option tables, parser, converters of values."""
