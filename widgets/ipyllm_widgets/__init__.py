"""The browser's front end: chat, compare and dashboard widgets. Empty for now: they are work to come."""
