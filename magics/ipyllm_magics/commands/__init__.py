"""The magics, one module for each command."""
