"""The services: each a small file with an endpoint and its quirks. The pipeline is in ``base``."""
