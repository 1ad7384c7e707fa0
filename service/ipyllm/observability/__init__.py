"""Structured logs, and OpenTelemetry spans and metrics."""
