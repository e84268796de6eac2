"""How many candidates share a step, by hand numbers, and what answers for them."""

import numpy as np
import pytest
from tuning_searches import mood_task

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.tuning.recipes import PAPER_RATES, recipes
from softprompt_tf.tuning.rows import divided, read_rows_of
from softprompt_tf.tuning.scoring import Scorer
from softprompt_tf.tuning.trainer import Trainer, together


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


def test_a_second_look_on_cached_states_traces_nothing_and_sees_the_new_values(tiny, tmp_path):
    task = mood_task()
    rows = divided(task, read_rows_of(task), seed=1)
    trainer, scorer = Trainer(tiny, rows, seed=1, directory=tmp_path, late_rows=8), Scorer(tiny, task)
    recipe = recipes(rates=PAPER_RATES, num_labels=2, methods=("late_prompts",))[0]
    values, texts = trainer.values(recipe), [example.inputs for example in rows.dev]
    answers = trainer.answers(scorer.model_with(values, recipe.method), recipe, rows.dev)
    before = answers.classify(texts)

    model = scorer.model_with({name: 3 * value for name, value in values.items()}, recipe.method)
    again = trainer.answers(model, recipe, rows.dev)

    assert again is answers
    first, logs, expected = (
        np.array([each.log_probabilities for each in answered])
        for answered in (before, again.classify(texts), model.classify(texts))
    )
    np.testing.assert_allclose(logs, expected, atol=1e-3)  # states are kept in float16
    assert np.abs(logs - first).max() > 0.01
    assert trainer.answers(model, recipe, rows.test) is not answers
