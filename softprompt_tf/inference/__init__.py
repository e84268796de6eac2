"""Answers of a frozen model: decoding, classification and scores."""
