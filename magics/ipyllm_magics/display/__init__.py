"""Shows answers in a cell or a terminal."""
