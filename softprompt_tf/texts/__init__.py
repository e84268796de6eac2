"""Texts in any form that Keras takes arrays in, made into a model's batches of tokens."""
