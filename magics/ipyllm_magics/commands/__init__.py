"""The magics themselves: one module for each thing a magic does."""
