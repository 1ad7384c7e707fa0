"""Sends one HTTP request; the only package that uses the openai client."""
