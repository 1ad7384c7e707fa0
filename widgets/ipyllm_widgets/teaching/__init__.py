"""Widgets for a class: how a token is chosen, what a context window holds, where the time of a call goes."""
