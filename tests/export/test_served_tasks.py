"""The tables of the served tasks hold what was worked out by hand from the prompts."""

import numpy as np
import pytest

from softprompt_tf.errors import BackboneMismatchError, ExportError
from softprompt_tf.export.graph.served_tasks import affixes_of, build_served_tasks
from softprompt_tf.methods import TaskPrompt


@pytest.fixture(scope="module")
def tables(tiny_t5, task_prompts):
    return build_served_tasks(tiny_t5, task_prompts)


def test_prompts_stand_one_behind_the_other(tables, task_prompts):
    assert tables.prompts.shape == (3 + 7 + 12, 16)
    assert tables.prompts.dtype == np.float32
    for name, rows in {"mood": slice(0, 3), "story": slice(3, 10), "reply": slice(10, 22)}.items():
        np.testing.assert_array_equal(tables.prompts[rows], task_prompts[name].prompt)


def test_lengths_and_limits_are_those_of_the_prompts(tables):
    assert tables.task_ids == ("mood", "story", "reply")
    assert [task.prompt_length for task in tables.rows] == [3, 7, 12]
    assert [task.max_input_tokens for task in tables.rows] == [40, 512, 512]
    assert tables.max_target_tokens.tolist() == [2, 9, 20]


def test_a_prompt_that_knows_no_limits_gets_the_usual_ones(tiny_t5):
    tables = build_served_tasks(tiny_t5, {"bare": TaskPrompt(prompt=np.ones((1, 16), np.float32))})

    assert (tables.rows[0].max_input_tokens, tables.rows[0].max_target_tokens) == (512, 32)


def test_only_a_template_of_one_field_is_put_around_a_text(tables):
    assert [task.text_before for task in tables.rows] == ["the film: ", "", ""]
    assert [task.text_after for task in tables.rows] == [" is it good?", "", ""]


@pytest.mark.parametrize(
    ("template", "affixes"),
    [("", ("", "")), ("{text}", ("", "")), ("a {{b}} {x} c{{", ("a {b} ", " c{")), ("{a} {a}", ("", ""))],
    ids=["none", "bare field", "literal braces", "one field twice"],
)
def test_affixes_are_the_text_around_one_field(template, affixes):
    assert affixes_of(TaskPrompt(prompt=np.ones((1, 4), np.float32), template=template)) == affixes


def test_labels_are_tokenized_cut_and_ended(tables, tiny_t5):
    yes, no, could = tiny_t5.tokenize(["yes", "no", "nobody could say"])
    width = len(could) + 1

    assert [task.labels for task in tables.rows] == [
        ("negative", "positive"),
        (),
        ("yes", "no", "nobody could say"),
    ]
    assert [ids.shape for ids in tables.label_ids] == [(2, width), (0, width), (3, width)]
    assert tables.label_ids[2].tolist() == [ids + [1] + [0] * (width - 1 - len(ids)) for ids in (yes, no, could)]
    # Of the words of "mood", whose limit is 2 tokens, one piece is left.
    first = [tiny_t5.tokenize([word])[0][0] for word in ("negative", "positive")]
    assert tables.label_ids[0][:, :3].tolist() == [[first[0], 1, 0], [first[1], 1, 0]]


@pytest.mark.parametrize("names", [[], [""]], ids=["no task", "a task without a name"])
def test_tasks_without_names_are_refused(tiny_t5, task_prompts, names):
    with pytest.raises(ExportError, match="at least one task, each with a name. Received: "):
        build_served_tasks(tiny_t5, dict.fromkeys(names, task_prompts["mood"]))


def test_a_task_id_that_utf8_cannot_express_is_refused(tiny_t5, task_prompts):
    with pytest.raises(ExportError, match=r"A task id must be valid Unicode. Received: '.udcff'."):
        build_served_tasks(tiny_t5, {"\udcff": task_prompts["mood"]})


def test_a_prompt_of_another_backbone_is_refused(tiny_t5, task_prompts, unlike_backbone):
    with pytest.raises(BackboneMismatchError, match="t5_elsewhere.*tiny-3"):
        build_served_tasks(tiny_t5, {"story": task_prompts["story"], "mood": unlike_backbone})


def test_a_prompt_of_another_width_is_refused(tiny_t5):
    with pytest.raises(BackboneMismatchError, match=r"H=8.*H=16"):
        build_served_tasks(tiny_t5, {"narrow": TaskPrompt(prompt=np.ones((2, 8), np.float32))})
