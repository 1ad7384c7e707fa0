"""What a model makes of a text: its tokens, and how it would go on."""
