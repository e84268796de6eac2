"""Asking a model server over gRPC: the sync and the asyncio client. Needs neither TensorFlow nor Keras nor NumPy."""
