"""Routes: services that choose another service for each call."""
