"""A run: train by a config into a run directory, checked against what it began with."""
