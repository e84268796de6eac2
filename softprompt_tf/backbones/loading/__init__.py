"""A T5 from a preset or a directory, and the layers that it is built of."""
