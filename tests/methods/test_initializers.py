"""Initializers, over a table whose row i is filled with i, so that a row tells which id it came from."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import init
from softprompt_tf.methods.initializers import PromptInitializer, Vocabulary

WORDS = {"good": [10], "bad": [20, 30], "neutral": [40, 41, 45]}


def tokenize(text):
    return [token_id for word in text.split() for token_id in WORDS[word]]


@pytest.fixture
def vocabulary():
    table = np.repeat(np.arange(100, dtype=np.float32)[:, None], 4, axis=1)  # [100, 4]
    return Vocabulary(embeddings=table, tokenize=tokenize)


INITIALIZERS = {
    "random_uniform": lambda path: init.random_uniform(),
    "sampled_vocabulary": lambda path: init.sampled_vocabulary(50),
    "class_labels": lambda path: init.class_labels(["good", "bad"]),
    "from_text": lambda path: init.from_text("good bad"),
    "from_array": lambda path: init.from_array(np.ones((6, 4))),
    "from_file": lambda path: init.from_file(path),
}


@pytest.fixture
def prompt_path(tmp_path):
    path = tmp_path / "prompt.npy"
    np.save(path, np.ones((6, 4), np.float32))
    return path


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_an_initializer_returns_float32_rows_and_repeats_them(name, seed, vocabulary, prompt_path):
    initializer = INITIALIZERS[name](prompt_path)

    first = initializer(vocabulary)(seed, (6, 4))
    second = INITIALIZERS[name](prompt_path)(vocabulary)(seed, (6, 4))

    assert first.shape == (6, 4)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initializer_can_be_pickled_for_another_process(name, vocabulary, prompt_path):
    initializer = INITIALIZERS[name](prompt_path)

    read = pickle.loads(pickle.dumps(initializer))

    assert read == initializer
    np.testing.assert_array_equal(read(vocabulary)(3, (6, 4)), initializer(vocabulary)(3, (6, 4)))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initializer_is_frozen_and_named_by_its_arguments(name, prompt_path):
    initializer = INITIALIZERS[name](prompt_path)

    assert initializer == INITIALIZERS[name](prompt_path)
    assert name in repr(initializer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        initializer.description = "other"


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_width_other_than_the_embeddings_is_an_error(name, vocabulary, prompt_path):
    with pytest.raises(PromptError, match=r"as wide as the embeddings\. Received: prompt \[6, 5\], .*H=4"):
        INITIALIZERS[name](prompt_path)(vocabulary)(0, (6, 5))


@pytest.mark.parametrize("name", ["random_uniform", "sampled_vocabulary", "class_labels", "from_text"])
def test_seeds_0_1_and_2_give_three_prompts(name, vocabulary):
    draws = [INITIALIZERS[name](None)(vocabulary)(seed, (6, 4)) for seed in (0, 1, 2)]

    assert not np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[1], draws[2])


def test_random_uniform_fills_both_halves_of_its_interval(vocabulary):
    values = init.random_uniform(0.5)(vocabulary)(0, (5000, 4))

    assert -0.5 <= values.min() < -0.49
    assert 0.49 < values.max() <= 0.5
    assert abs(values.mean()) < 0.01


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_random_uniform_refuses_a_scale_that_is_not_above_0(scale):
    with pytest.raises(PromptError, match=rf"`scale` must be a finite number above 0\. Received: scale={scale}"):
        init.random_uniform(scale)


def test_sampled_vocabulary_takes_each_piece_of_the_population_once(vocabulary):
    rows = init.sampled_vocabulary(20)(vocabulary)(0, (20, 4))

    assert sorted(rows[:, 0]) == list(range(3, 23))  # ids 0 to 2 are special and left out


def test_sampled_vocabulary_repeats_pieces_only_when_the_prompt_is_longer(vocabulary):
    rows = init.sampled_vocabulary(5)(vocabulary)(0, (60, 4))

    assert set(rows[:, 0]) == {3, 4, 5, 6, 7}


def test_sampled_vocabulary_stops_at_the_last_piece(vocabulary):
    small = dataclasses.replace(vocabulary, num_pieces=10)

    rows = init.sampled_vocabulary()(small)(0, (7, 4))

    assert sorted(rows[:, 0]) == list(range(3, 10))


def test_sampled_vocabulary_needs_a_piece_that_is_not_special(vocabulary):
    with pytest.raises(PromptError, match="more than 3 pieces. Received: 3 pieces"):
        init.sampled_vocabulary()(dataclasses.replace(vocabulary, num_pieces=3))(0, (2, 4))


def test_sampled_vocabulary_refuses_an_empty_population():
    with pytest.raises(PromptError, match="`population_size` must be a positive integer. Received: population_size=0"):
        init.sampled_vocabulary(0)


def test_class_labels_are_means_of_their_tokens_and_the_rest_is_the_fallback(vocabulary):
    rows = init.class_labels(["bad", "neutral"])(vocabulary)(3, (5, 4))

    rest = init.sampled_vocabulary()(vocabulary)(3, (3, 4))
    np.testing.assert_array_equal(rows[0], np.full(4, 25))  # (20 + 30) / 2
    np.testing.assert_array_equal(rows[1], np.full(4, 42))  # (40 + 41 + 45) / 3
    np.testing.assert_array_equal(rows[2:], rest)


def test_class_labels_may_fill_the_whole_prompt(vocabulary):
    rows = init.class_labels(["good", "bad"])(vocabulary)(0, (2, 4))

    np.testing.assert_array_equal(rows[:, 0], [10, 25])


def test_more_class_labels_than_rows_is_an_error(vocabulary):
    with pytest.raises(PromptError, match=r"a row for each class label\. Received: 3 labels, length=2\. Make the"):
        init.class_labels(["good", "bad", "neutral"])(vocabulary)(0, (2, 4))


@pytest.mark.parametrize("labels", ["good", [], ["good", ""], [1]])
def test_class_labels_must_be_a_list_of_words(labels):
    with pytest.raises(PromptError, match="`labels` must be a list of non-empty strings. Received: labels="):
        init.class_labels(labels)


def test_a_label_without_tokens_is_an_error(vocabulary):
    with pytest.raises(PromptError, match="at least one token. Received: ' '"):
        init.class_labels([" "])(vocabulary)(0, (2, 4))


def test_a_token_beyond_the_table_is_an_error(vocabulary):
    other = dataclasses.replace(vocabulary, tokenize=lambda text: [100])

    with pytest.raises(PromptError, match=r"must fit the embeddings\. Received: token id 100, V=100"):
        init.from_text("good")(other)(0, (2, 4))


def test_from_text_keeps_the_tokens_in_order(vocabulary):
    rows = init.from_text("bad good", fallback=init.from_array(np.full((2, 4), -1)))(vocabulary)(0, (5, 4))

    np.testing.assert_array_equal(rows[:, 0], [20, 30, 10, -1, -1])


def test_from_text_cuts_a_long_text_and_warns(vocabulary):
    with pytest.warns(UserWarning, match="is cut: it has 4 tokens and the prompt 2 rows"):
        rows = init.from_text("neutral good")(vocabulary)(0, (2, 4))

    np.testing.assert_array_equal(rows[:, 0], [40, 41])


def test_from_text_of_the_exact_length_does_not_warn(vocabulary):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = init.from_text("neutral")(vocabulary)(0, (3, 4))

    np.testing.assert_array_equal(rows[:, 0], [40, 41, 45])


def test_from_text_refuses_an_empty_text():
    with pytest.raises(PromptError, match="`text` must not be empty"):
        init.from_text("  ")


def test_from_array_keeps_a_copy(vocabulary):
    array = np.ones((2, 4), np.float32)
    draw = init.from_array(array)(vocabulary)

    array[:] = 5
    draw(0, (2, 4))[:] = 7

    np.testing.assert_array_equal(draw(0, (2, 4)), np.ones((2, 4)))


def test_from_array_differs_by_its_values():
    assert init.from_array(np.ones((2, 4))) != init.from_array(np.zeros((2, 4)))


def test_from_array_names_both_shapes(vocabulary):
    with pytest.raises(PromptError, match=r"exact shape\. Received: \[6, 4\] for a prompt \[5, 4\]\. Set .* to 6"):
        init.from_array(np.ones((6, 4)))(vocabulary)(0, (5, 4))


@pytest.mark.parametrize("array", [np.ones(4), np.full((2, 4), np.nan)], ids=["rank 1", "NaN"])
def test_from_array_refuses_what_is_no_prompt(array):
    with pytest.raises(PromptError, match="`array` must be a finite"):
        init.from_array(array)


def test_from_file_names_the_file_and_both_shapes(vocabulary, prompt_path):
    with pytest.raises(PromptError, match=r"prompt\.npy must have .* Received: \[6, 4\] for a prompt \[5, 4\]"):
        init.from_file(prompt_path)(vocabulary)(0, (5, 4))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random_uniform", init.random_uniform()),
        ("sampled_vocabulary", init.sampled_vocabulary(40)),
        ("class_labels", init.class_labels(["good"], fallback=init.sampled_vocabulary(40))),
        ("text: good: bad", init.from_text("good: bad", fallback=init.sampled_vocabulary(40))),
        ("file:runs/a/prompt.safetensors", init.from_file("runs/a/prompt.safetensors")),
    ],
)
def test_from_name_maps_a_config_string(text, expected):
    initializer = init.from_name(text, ["good"], population_size=40)

    assert isinstance(initializer, PromptInitializer)
    assert initializer == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("class_label", "Did you mean 'class_labels'"),
        ("samplevocabulary", "Did you mean 'sampled_vocabulary'"),
        ("txt:a long text that is near to nothing", "Did you mean 'text:'"),
        ("text:", "A text or a path follows"),
        ("qqqq", "A text or a path follows"),
    ],
)
def test_from_name_answers_an_unknown_name_with_the_nearest(text, hint):
    with pytest.raises(PromptError, match=rf"`init` must be one of random_uniform, .*Received: init='{text}'\. {hint}"):
        init.from_name(text)


def test_from_name_needs_labels_for_class_labels():
    with pytest.raises(PromptError, match="`labels` must be a list of non-empty strings"):
        init.from_name("class_labels")


def test_a_vocabulary_needs_a_table_of_rank_2():
    with pytest.raises(PromptError, match=r"`embeddings` must be a \[V, H\] table. Received: shape \[3\]"):
        Vocabulary(embeddings=np.ones(3), tokenize=tokenize)


def test_a_vocabulary_has_at_most_v_pieces():
    with pytest.raises(PromptError, match="`num_pieces` must be 1 to V=3. Received: num_pieces=4"):
        Vocabulary(embeddings=np.ones((3, 2)), tokenize=tokenize, num_pieces=4)


@pytest.mark.parametrize(("fingerprint", "warns"), [("t5:1", False), ("t5:2", True), ("", False)])
def test_a_file_of_another_backbone_is_a_start_with_a_warning(fingerprint, warns, vocabulary, tmp_path):
    from softprompt_tf.methods import TaskPrompt, write_prompt

    rows = np.ones((6, 4), np.float32)
    path = write_prompt(tmp_path / "p.safetensors", TaskPrompt(rows, backbone="old", backbone_fingerprint="t5:1"))
    known = dataclasses.replace(vocabulary, fingerprint=lambda: fingerprint)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drawn = init.from_file(path)(known)(0, (6, 4))

    np.testing.assert_array_equal(drawn, rows)
    assert ["trained on another backbone, old" in str(each.message) for each in caught] == [True] * warns
