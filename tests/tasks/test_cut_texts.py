"""What is cut and what is unknown is counted by hand here, and told."""

import re
import warnings

import pytest

from softprompt_tf.prompt_places import TextPlaces
from softprompt_tf.tasks import tell_cut_texts
from softprompt_tf.tasks.cut_texts import count_cut_texts

LIMITS = {"max_input_tokens": 3, "max_target_tokens": 2}


def by_letter(texts):
    """A tokenizer of letters, of which x is unknown."""
    return [[2 if letter == "x" else ord(letter) for letter in text] for text in texts]


def counted(inputs, targets):
    return count_cut_texts(inputs, targets, by_letter, **LIMITS)


def test_rows_past_a_limit_and_unknown_pieces_are_counted():
    counts = counted(["ab", "abc", "axxd", ""], ["a", "ab", "x", ""])

    assert (counts.rows, counts.cut_inputs, counts.cut_targets) == (4, 2, 1)  # the end of sequence takes one token
    assert (counts.pieces, counts.unknown) == (2 + 3 + 4 + 1 + 2 + 1, 3)


def test_markers_of_rows_are_no_pieces():
    limits = {"max_input_tokens": 4, "max_target_tokens": 4}

    counts = count_cut_texts(
        ["ab{prompt:2}", "{prompt:3}"], ["a", "a"], by_letter, **limits, places=TextPlaces(in_text=3)
    )

    assert (counts.cut_inputs, counts.unknown) == (0, 0)


def test_the_counts_are_told_with_their_shares():
    told = str(counted(["abc", "a", "a", "a"], ["a", "a", "a", "x"]))

    assert told == (
        "4 rows; cut: 1 of 4 (25.0 %) inputs (at 3 tokens), 0 of 4 (0.0 %) targets (at 2 tokens); "
        "unknown: 1 of 10 (10.0 %) tokens"
    )


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        (["a"], ["a"], "1 row; no text is cut, and no token is unknown"),
        (["x"], ["a"], "1 row; no text is cut; unknown: 1 of 2 (50.0 %) tokens"),
        (
            ["abc"],
            ["a"],
            "1 row; cut: 1 of 1 (100.0 %) inputs (at 3 tokens), 0 of 1 (0.0 %) targets (at 2 tokens); no token is unknown",
        ),
    ],
    ids=["nothing", "unknown", "cut"],
)
def test_only_what_was_found_is_counted(inputs, targets, said):
    assert str(counted(inputs, targets)) == said


@pytest.mark.parametrize(
    ("inputs", "targets", "expected"),
    [
        (["abc"] + ["a"] * 19, ["a"] * 20, []),  # 5 % of the inputs
        (["abc"] * 2 + ["a"] * 18, ["a"] * 20, ["Many inputs are cut: 2 of 20 (10.0 %). Raise `max_input_tokens`."]),
        (["a"] * 20, ["ab"] + ["a"] * 19, ["Many targets are cut: 1 of 20 (5.0 %). Raise `max_target_tokens`."]),
        (["x"] + ["a"] * 99, ["a"] * 100, []),  # 0.5 % of the pieces
        (["x"] * 3 + ["a"] * 97, ["a"] * 100, ["Many pieces are unknown to the tokenizer: 3 of 200 (1.5 %)."]),
    ],
    ids=["few inputs", "inputs", "targets", "few pieces", "pieces"],
)
def test_a_share_past_its_threshold_is_warned_of(inputs, targets, expected):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell_cut_texts(inputs, targets, by_letter, **LIMITS, name="mood, train")

    assert [re.sub(" Is this T5.*", "", str(each.message)) for each in caught] == [
        f"mood, train: {each}" for each in expected
    ]


def test_nothing_is_said_of_whole_texts(capsys):
    tell_cut_texts(["ab"], ["a"], by_letter, **LIMITS)

    assert capsys.readouterr().err == ""


def test_fit_on_texts_says_what_is_cut(tiny_t5, capsys):
    from softprompt_tf.methods import prompt_tuning
    from softprompt_tf.model.prompted_t5 import PromptedT5

    model = PromptedT5(tiny_t5, prompt_tuning(length=1), max_input_tokens=4, max_target_tokens=30)
    long = "the old miller walks to the river"

    with pytest.warns(UserWarning, match=r"Texts: Many inputs are cut: 1 of 2 \(50.0 %\)"):
        model._feed.evaluation([long, "a"], ["no", "no"])

    assert "Texts: 2 rows; cut: 1 of 2 (50.0 %) inputs (at 4 tokens), 0 of 2" in capsys.readouterr().err
