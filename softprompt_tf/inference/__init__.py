"""Answers of a frozen model: decoding, and texts in, answers out."""
