"""Conversations: messages, files, trimming to a context window, export."""
