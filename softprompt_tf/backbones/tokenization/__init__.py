"""A T5's texts as token ids, in Python and in a graph."""
