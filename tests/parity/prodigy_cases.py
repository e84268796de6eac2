"""Ten steps of Prodigy with two tensors: what `record_prodigy.py` records and the tests compare with."""

import numpy as np

RATES = {"steady": [1.0] * 10, "warm-up": [0.0, 0.25, 0.5, 0.75] + [1.0] * 6}
CASES = {  # settings of ours, and the rates
    "defaults": ({}, "steady"),
    "warm-up": ({"d0": 1e-2}, "warm-up"),
    "safeguarded warm-up": ({"d0": 1e-2, "safeguard_warmup": True}, "warm-up"),
    "corrected and decayed": ({"d0": 1e-2, "use_bias_correction": True, "weight_decay": 0.1}, "steady"),
    "slow growth": ({"d0": 1e-2, "growth_rate": 1.5, "d_coef": 2.0}, "steady"),
    "other betas": ({"d0": 1e-2, "beta_1": 0.8, "beta_2": 0.95, "beta_3": 0.9, "epsilon": 1e-3}, "steady"),
}
VALUES = ([[0.5, -1.0, 2.0], [0.25, 1.5, -0.75]], [1.0, -0.5])
TARGETS = ([[1.0, 1.0, -1.0], [0.5, -2.0, 0.125]], [-1.0, 2.0])


def gradients(values, step):
    """Return the gradients at some values, from step 0 on: of a distance, weighted so that no two steps have the same."""
    return [(1 + step % 3) * (value - target) for value, target in zip(values, map(np.float32, TARGETS), strict=True)]
