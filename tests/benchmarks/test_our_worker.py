"""What is timed on our side runs, with a tiny T5 in the place of T5 1.1 Small."""

import numpy as np
import pytest
from tiny_t5 import NUM_PIECES

from benchmarks.speed import inputs, our_worker

ROWS, TOKENS, LABELS = 2, 4, 2
CASE = {"model": "none", "rows": ROWS, "length": 5, "prompt": 3, "rate": 0.1, "targets": 3, "tokens": TOKENS}


@pytest.fixture
def prepare(one_layer_t5, monkeypatch):
    """Return `prepare` of a T5 that has fewer tokens than the one that is timed."""
    rng = np.random.default_rng(1)
    draw = {"source": (5,), "targets": (3,)}
    for name, shape in draw.items():
        monkeypatch.setattr(
            inputs, name, lambda rows, length, shape=shape: rng.integers(3, NUM_PIECES, (rows, *shape)).astype(np.int64)
        )
    words = np.pad(rng.integers(3, NUM_PIECES, (LABELS, TOKENS - 1)), [(0, 0), (0, 1)], constant_values=1)
    monkeypatch.setattr(inputs, "labels", lambda length: words)
    monkeypatch.setattr(our_worker, "_t5", lambda model, dtype, quantization: one_layer_t5)
    return lambda kind: our_worker.prepare({**CASE, "kind": kind})


def test_steps_lower_the_loss(prepare):
    step, checks = prepare("training_step")

    losses = [*checks["values"], step()]
    assert sorted(losses, reverse=True) == losses
    assert len(set(losses)) == 4


def test_written_tokens_are_the_same_in_each_round(prepare):
    decode, checks = prepare("generate")

    ids = np.array(checks["ids"])
    assert ids.shape == (ROWS, TOKENS)
    assert ((ids >= 0) & (ids < 128)).all()
    assert decode().tolist() == checks["ids"]


def test_label_scores_are_log_probabilities_per_token(prepare):
    scores, checks = prepare("classify")

    assert len(checks["values"]) == ROWS * LABELS
    assert max(checks["values"]) < 0
    np.testing.assert_allclose(scores().ravel() / TOKENS, checks["values"], rtol=1e-5)
