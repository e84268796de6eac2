"""Prompts in words: the texts are those that one writes by hand, and never longer than the model reads."""

import numpy as np
import pytest

from softprompt_tf.baselines import design_prompts, draw_shots, random_prompt
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.evaluation import score_answers
from softprompt_tf.inference.answering import answerer_without_prompt


def designed_by(t5, task, texts, train=(), **settings):
    return design_prompts(t5, task, train, **settings).designed(texts)


def test_zero_shot_is_the_instruction_and_the_input(tiny_t5, task_data):
    mood, echo = task_data["mood"].task, task_data["echo"].task

    assert designed_by(tiny_t5, mood, ["film: a", "film: b"], max_input_tokens=200) == [
        "Answer with one of: negative, positive. film: a",
        "Answer with one of: negative, positive. film: b",
    ]
    assert designed_by(tiny_t5, echo, ["good and film"]) == ["good and film"]  # no labels, no instruction
    assert designed_by(tiny_t5, echo, ["good and film"], instruction="Say it.") == ["Say it. good and film"]


def test_few_shot_puts_solved_rows_in_front(tiny_t5, task_data):
    echo = task_data["echo"]
    first, second = draw_shots(echo.train, 2, seed=5)

    (text,) = designed_by(tiny_t5, echo.task, ["good and film"], echo.train, shots=2, seed=5)

    assert text == (
        f"{first.row.values['first']} and {first.row.values['second']} answer: {first.row.values['answer']} "
        f"{second.row.values['first']} and {second.row.values['second']} answer: {second.row.values['answer']} "
        "good and film answer:"
    )


def test_rows_that_do_not_fit_are_dropped_from_the_last_on(tiny_t5, task_data):
    mood = task_data["mood"]
    blocks = [f"{shot.inputs} answer: {shot.target}" for shot in draw_shots(mood.train, 3, seed=0)]
    query, texts = "film: the old film is good answer:", ["film: the old film is good"]
    length = [len(ids) for ids in tiny_t5.tokenize([" ".join([*blocks[:count], query]) for count in range(4)])]

    def kept(limit):
        (text,) = designed_by(tiny_t5, mood.task, texts, mood.train, shots=3, instruction="", max_input_tokens=limit)
        return text

    # One token more than the text, for the end of sequence.
    assert kept(length[3] + 1) == " ".join([*blocks, query])
    assert kept(length[3]) == " ".join([*blocks[:2], query])
    assert kept(length[1] + 1) == f"{blocks[0]} {query}"
    assert kept(length[1]) == query
    assert kept(3) == query  # the model cuts it, as any other text


def test_shots_are_drawn_by_the_seed_and_grow_at_the_end(task_data):
    train = task_data["mood"].train

    assert draw_shots(train, 4, seed=1)[:2] == draw_shots(train, 2, seed=1)
    assert draw_shots(train, 4, seed=1) != draw_shots(train, 4, seed=2)
    assert len({shot.row.location for shot in draw_shots(train, 16, seed=3)}) == 16
    assert draw_shots((), 0, seed=1) == ()


def test_a_count_of_shots_must_suit_the_rows(task_data):
    with pytest.raises(DataError, match="a row for each shot. Received: 17 shots, 16 rows"):
        draw_shots(task_data["mood"].train, 17, seed=1)
    with pytest.raises(ConfigError, match="`shots` must be a whole number from 0 up. Received: shots=-1"):
        draw_shots(task_data["mood"].train, -1, seed=1)


def test_the_frozen_model_is_asked_the_designed_texts(tiny_t5, task_data):
    mood = task_data["mood"]
    design = design_prompts(tiny_t5, mood.task, mood.train, shots=2, seed=1, max_input_tokens=120)

    scores = score_answers(mood.task, mood.validation, design.ask(mood.task, mood.validation))

    bare = answerer_without_prompt(tiny_t5, max_input_tokens=120, max_target_tokens=9)
    texts = design.designed([example.inputs for example in mood.validation])
    expected = bare.classify(texts, labels=["negative", "positive"])
    assert [p.output for p in scores.predictions] == [choice.label for choice in expected]
    assert [p.score for p in scores.predictions] == pytest.approx([max(c.log_probabilities) for c in expected])


def test_a_task_without_labels_is_answered_by_texts(tiny_t5, task_data):
    echo = task_data["echo"]
    design = design_prompts(tiny_t5, echo.task, echo.train, shots=1, seed=1)

    answers = design.ask(echo.task, echo.validation)

    texts = design.designed([example.inputs for example in echo.validation])
    assert answers == design.model.generate_scored(texts)


def test_a_random_prompt_is_the_draw_of_its_seed_and_does_not_train(tiny_t5, task_data):
    model = random_prompt(tiny_t5, task_data["mood"].task, length=3, seed=7)

    value = model.prompt_value()
    assert value.shape == (3, 16)
    assert -0.5 <= value.min() < value.max() < 0.5
    np.testing.assert_array_equal(
        value, random_prompt(tiny_t5, task_data["mood"].task, length=3, seed=7).prompt_value()
    )
    assert not np.array_equal(value, random_prompt(tiny_t5, task_data["mood"].task, length=3, seed=8).prompt_value())
    assert model.labels == ("negative", "positive")
    assert model.max_input_tokens == 30
