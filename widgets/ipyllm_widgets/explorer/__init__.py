"""The explorer of an experiment's results: prompts × arms, as a widget and as a page without a kernel."""
