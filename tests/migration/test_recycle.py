"""A task file recycled onto another T5 keeps what is known of its task, and nothing that was measured."""

import numpy as np
import pytest

from softprompt_tf import backbones as t5
from softprompt_tf import load_prompt
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.methods import TaskPrompt, write_prompt
from softprompt_tf.migration import recycled_task
from softprompt_tf.migration.recycle import embedded_pieces


@pytest.fixture(scope="module")
def task(one_layer_t5):
    rows = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    known = {"backbone_fingerprint": one_layer_t5.fingerprint, "backbone": one_layer_t5.name}
    return TaskPrompt(
        rows, task_id="mood", labels=("yes", "no"), template="x {text}", metrics={"accuracy": 1.0}, **known
    )


def test_a_recycled_task_is_for_the_new_backbone(task, one_layer_t5, two_layer_t5):
    new = recycled_task(task, one_layer_t5, two_layer_t5)

    old_rows, new_rows = (model.embedding_table[3:120].astype(np.float64) for model in (one_layer_t5, two_layer_t5))
    by_hand = task.prompt @ np.linalg.solve(old_rows.T @ old_rows, old_rows.T @ new_rows)
    np.testing.assert_allclose(new.prompt, by_hand, atol=1e-4)
    assert (new.backbone_fingerprint, new.task_id, new.labels, new.template) == (
        two_layer_t5.fingerprint,
        "mood",
        ("yes", "no"),
        "x {text}",
    )
    assert new.metrics == {}


def test_the_command_writes_a_file_that_loads(task, one_layer_t5, two_layer_t5, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(t5, "load_t5", {"old": one_layer_t5, "new": two_layer_t5}.__getitem__)
    file = write_prompt(tmp_path / "mood.safetensors", task)
    new = tmp_path / "new.safetensors"

    status = main(["recycle", str(file), "--from", "old", "--backbone", "new", "--way", "lin-comb", "-o", str(new)])

    assert (status, capsys.readouterr().out) == (
        0,
        f"{new}: 3 rows on {two_layer_t5.name}, by lin-comb from {one_layer_t5.name}\n",
    )
    assert load_prompt(new).backbone_fingerprint == two_layer_t5.fingerprint


def test_a_prompt_of_another_backbone_or_with_other_tensors_is_refused(task, one_layer_t5, two_layer_t5):
    with pytest.raises(BackboneMismatchError, match="was made for"):
        recycled_task(task, two_layer_t5, one_layer_t5)
    prefix = TaskPrompt(tensors={"decoder_key_values": np.ones((3, 1, 2, 2, 6), np.float32)}, method="prefix_tuning")
    with pytest.raises(PromptError, match="Only the rows of a prompt can be recycled. Received: a task of the method"):
        recycled_task(prefix, one_layer_t5, two_layer_t5)


def test_special_pieces_do_not_count(one_layer_t5):
    pieces = embedded_pieces(one_layer_t5)

    assert (pieces.pieces[:3], len(pieces.pieces)) == (["<pad>", "</s>", "<unk>"], 120)
