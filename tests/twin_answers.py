"""A model's answers against those of a plain NumPy T5: whole targets, greedy and beam search."""

import numpy as np
import numpy_t5
import pytest

import softprompt_tf as sp


def check_answers(model, texts, twins, encoded, *, target="a slow and quiet ending"):
    """Assert that the model scores and writes as the twins do.

    Args:
      model: a `PromptedT5`; its sampler is changed.
      texts: the rows.
      twins: the weights in NumPy, for each row.
      encoded: the encoder output [S, H] that the twin's decoder sees, for each row.
      target: what is scored.
    """
    rows = list(zip(twins, encoded, strict=True))
    ids = [*model.t5.tokenize([target])[0], 1]
    expected = [numpy_t5.target_log_probability(twin, ids, output) for twin, output in rows]
    np.testing.assert_allclose(model.score(texts, [target] * len(texts)), expected, rtol=1e-4)

    _check_written(model, texts, [numpy_t5.greedy(twin, output, 6) for twin, output in rows], max_tokens=6)
    model.sampler = sp.Beam(num_beams=3)
    beams = [numpy_t5.beam(twin, output, 4, num_beams=3, length_penalty=0.6) for twin, output in rows]
    _check_written(model, texts, beams, max_tokens=4)


def _check_written(model, texts, expected, *, max_tokens):
    for answer, (ids, score) in zip(model.generate_scored(texts, max_tokens=max_tokens), expected, strict=True):
        assert answer.text == model.t5.detokenize([ids])[0]
        assert answer.score == pytest.approx(score, rel=1e-4)
