"""The services: a small module for each provider, with its endpoint and quirks. Their common API is in ``base``."""
