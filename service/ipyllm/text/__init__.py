"""Text for people: formats, suggestions, surrogates, terminal control sequences, hidden keys."""
