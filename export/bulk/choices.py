"""What arguments of bulk answers may be. Imports nothing, as the command line needs it to start."""

FORMATS = ("jsonl", "csv", "tfrecord")
SIGNATURES = ("auto", "classify", "generate", "score")
BATCH_SIZE = 64
CHUNK_ROWS = 1000
DIRECT_RUNNER = "FnApiRunner"
"""Beam's direct runner in Python. Its name `DirectRunner` may fetch another one, Prism, from the network."""
