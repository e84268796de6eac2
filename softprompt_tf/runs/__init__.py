"""A run: its config in, its directory out, checked against what it began with."""
