"""Builds the request: template, variables, images, conversation."""
