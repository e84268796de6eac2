"""How many candidates share a step, by hand numbers."""

import pytest

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.tuning.trainer import together


@pytest.mark.parametrize(
    ("hidden_dim", "layers", "expected"),
    [
        (256, 4, 8),  # `mini`, 32 * 148 * 256 * 5 = 6.1 million values of 67 million: 11, and 8 at most
        (512, 8, 3),  # T5 1.1 Small: 21.8 million
        (768, 12, 1),  # T5 1.1 Base: 47.3 million
        (4096, 24, 1),  # T5 1.1 XXL: 485 million, one in any case
    ],
    ids=["mini", "small", "base", "xxl"],
)
def test_a_step_has_as_many_candidates_as_the_memory_holds(hidden_dim, layers, expected):
    assert together(148, BackboneSizes(hidden_dim, layers, layers, 8, 64)) == expected
