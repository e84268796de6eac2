"""Texts for `fit`, in any form that Keras takes arrays in, as batches of tokens."""
