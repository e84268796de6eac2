"""Prompts ranked by similarity to one, on vectors small enough for a hand."""

import numpy as np
import pytest

from softprompt_tf.cli.cli import main
from softprompt_tf.errors import DataError, PromptError
from softprompt_tf.interpretability import read_sources, similar_sources, token_cosine
from softprompt_tf.methods import TaskPrompt, write_prompt

RIGHT, UP = np.array([1.0, 0.0]), np.array([0.0, 2.0])
ROWS = {
    "both": np.stack([RIGHT, UP]),
    "right": np.stack([3 * RIGHT, RIGHT]),
    "up": np.stack([UP]),
    "left": np.stack([-RIGHT, -RIGHT, -RIGHT]),
}


def task(name, **fields):
    return TaskPrompt(ROWS[name].astype(np.float32), task_id=name, **fields)


@pytest.fixture
def library(tmp_path):
    for name in ROWS:
        write_prompt(tmp_path / f"{name}.safetensors", task(name, backbone_fingerprint="t5:1"))
    return tmp_path


def test_the_token_cosine_is_the_mean_over_all_pairs():
    table = token_cosine(list(ROWS.values()))

    # both: (1, 0) and (0, 1); with itself the pairs are 1, 0, 0, 1.
    np.testing.assert_allclose(table[0], [0.5, 0.5, 0.5, -0.5], atol=1e-12)
    np.testing.assert_allclose(table[1], [0.5, 1.0, 0.0, -1.0], atol=1e-12)
    np.testing.assert_array_equal(table, table.T)


@pytest.mark.parametrize("measure", ["tokens", "means"])
def test_the_most_similar_prompt_comes_first(measure, library):
    ranked = similar_sources(task("right"), read_sources([library]), measure=measure)

    assert [each.task_id for each in ranked.fitting] == ["right", "both", "up", "left"]
    mean_of_both = 1 / np.sqrt(5)  # of (0.5, 1), whose rows count by their lengths
    wanted = [1.0, 0.5 if measure == "tokens" else mean_of_both, 0.0, -1.0]
    np.testing.assert_allclose([each.cosine for each in ranked.fitting], wanted, atol=1e-6)


def test_what_cannot_be_compared_is_named(library):
    wide = TaskPrompt(np.ones((2, 3), np.float32))
    keys = TaskPrompt(tensors={"decoder_key_values": np.ones((3, 1, 2, 1, 2), np.float32)}, method="prefix_tuning")
    other = task("up", backbone="other", backbone_fingerprint="t5:2")

    ranked = similar_sources(
        task("right", backbone_fingerprint="t5:1"), {"wide": wide, "keys": keys, "other": other, "up": task("up")}
    )

    assert [each.path for each in ranked.fitting] == ["up"]
    assert ranked.others == {
        "wide": "It has the width H=3, not 2.",
        "keys": "It has no prompt's rows, but decoder_key_values.",
        "other": "It was made for another backbone, other (t5:2).",
    }


def test_the_command_leaves_the_prompt_itself_out(library, capsys):
    arguments = ["similar", str(library / "right.safetensors"), str(library), "--measure", "tokens", "--count", "2"]

    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["0.5000", str(library / "both.safetensors"), "both"],
        ["0.0000", str(library / "up.safetensors"), "up"],
    ]


def test_a_prompt_alone_is_similar_to_nothing(library, capsys):
    """The command printed nothing, as if it had found nothing similar."""
    assert main(["similar", *[str(library / "right.safetensors")] * 2]) == 2
    assert "There must be another prompt to compare with" in capsys.readouterr().err


def test_wrong_places_and_measures_are_refused(tmp_path):
    with pytest.raises(DataError, match="must hold .safetensors or .npy files"):
        read_sources([tmp_path])
    with pytest.raises(DataError, match="No such file"):
        read_sources([tmp_path / "nobody"])
    with pytest.raises(
        PromptError, match="`measure` must be one of tokens, means. Received: measure='mean'. Did you mean `means`"
    ):
        similar_sources(task("up"), {}, measure="mean")
