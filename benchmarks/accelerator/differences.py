"""How far values lie from recorded ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def differences(found: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compare all answers of a model; of float answers `apart`, of tokens the share that is equal."""
    floats = {key: apart(found[key], recorded[key]) for key in ("loss", "logits", "scores", "gradient")}
    equal = float(np.mean(found["tokens"] == recorded["tokens"]))
    return {**floats, "equal_tokens": equal, "gradient_cosine": cosine(found["gradient"], recorded["gradient"])}


def apart(found: np.ndarray, recorded: np.ndarray) -> dict[str, float]:
    """Return the largest absolute difference, and its share of the largest recorded value."""
    if found.shape != recorded.shape:
        raise ValueError(f"Both arrays must have one shape. Received: {found.shape} and {recorded.shape}.")
    largest = float(np.abs(np.asarray(found, np.float64) - np.asarray(recorded, np.float64)).max())
    return {"absolute": largest, "relative": largest / float(np.abs(recorded).max())}


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine of the angle between two arrays, taken as vectors."""
    a, b = (np.asarray(values, np.float64).ravel() for values in (one, other))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
