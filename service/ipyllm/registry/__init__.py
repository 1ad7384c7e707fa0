"""Finds services by name: models, aliases, endpoints, routes."""
