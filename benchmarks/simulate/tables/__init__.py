"""The tables; a module that is added here is simulated, tested and written to the page."""
