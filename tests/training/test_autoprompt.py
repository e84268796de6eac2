"""AutoPrompt: which pieces are tried, which one stays, and that the prompt is made of pieces at every step."""

from types import SimpleNamespace

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from tiny_t5 import NUM_PIECES

from softprompt_tf import AutoPrompt, PromptedT5, TargetCrossEntropy, found_words, init, prompt_tuning, residual
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.training import token_search, train_prompt
from softprompt_tf.training.token_search import best_flips, nearest_rows, prompt_pieces

pytestmark = pytest.mark.thorough

TEXTS = ["a charming film", "the plot is thin", "a cold wind", "nobody sent it"]
TARGETS = ["yes", "no", "no", "yes"]


def compiled(t5, method=None, **search):
    model = PromptedT5(t5, method or prompt_tuning(4, init.from_text("the film is"), seed=1))
    model.compile(
        optimizer=AutoPrompt(**{"candidates": 3, "window": 2, "seed": 5, **search}), loss=TargetCrossEntropy()
    )
    return model


class Texts:
    """Batches of two rows, each a function of its number."""

    def __init__(self, model):
        columns = {"encoder_text": TEXTS, "decoder_text": TARGETS}
        made = [model.text_batches.tokenize({k: tf.constant(v[i : i + 2]) for k, v in columns.items()}) for i in (0, 2)]
        self.batches = [tf.nest.map_structure(np.asarray, batch) for batch in made]

    def dataset(self, *, first_step):
        kinds = tf.nest.map_structure(lambda a: tf.TensorSpec([None, None], a.dtype), self.batches[0])
        return tf.data.Dataset.from_generator(
            lambda: (self.batches[k % 2] for k in range(first_step, 1_000)), output_signature=kinds
        )


class Spy(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.prompts = []

    def on_train_batch_end(self, batch, logs=None):
        self.prompts.append(self.model.prompt_variable.numpy())


def test_gradients_are_added_up_and_nothing_moves():
    variable = keras.Variable(np.ones((2, 3), np.float32))
    optimizer = AutoPrompt(seed=0)
    optimizer.build([variable])

    for value in (1.0, 2.5):
        optimizer.apply([tf.fill([2, 3], value)])

    np.testing.assert_array_equal(optimizer.gradient, np.full((2, 3), 3.5))
    np.testing.assert_array_equal(variable, np.ones((2, 3)))
    assert int(optimizer.iterations) == 2


def test_pieces_along_the_falling_gradient_are_tried_first():
    table = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [-1.0, -1.0], [0.0, 2.0]])

    # gradient (1, -1): the products are 1, -2, -3, 0, -2
    assert best_flips(np.array([1.0, -1.0]), table, count=3).tolist() == [2, 1, 4]
    assert best_flips(np.array([1.0, -1.0]), table, count=9).tolist() == [2, 1, 4, 3, 0]


def test_the_nearest_row_is_that_of_the_smallest_distance():
    table = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]], np.float32)

    assert nearest_rows(np.array([[1.9, 0.0], [2.1, 0.0], [0.0, 1.6]]), table).tolist() == [0, 1, 2]


def test_special_pieces_and_rows_of_no_piece_are_never_taken(tiny_t5):
    assert prompt_pieces(tiny_t5).tolist() == list(range(3, NUM_PIECES))


def loss_by_numpy(weights, t5, prompt, text, target):
    rows = np.concatenate([prompt, weights.table[[*t5.tokenize([text])[0], 1]]])
    ids = np.array([*t5.tokenize([target])[0], 1])
    return -numpy_t5.target_log_probability(weights, ids, numpy_t5.encode(weights, rows)), len(ids)


def test_the_piece_that_stays_is_the_best_of_all_on_the_next_batches(one_layer_t5):
    """With every piece as a candidate, NumPy's T5 finds the same one by trying them all."""
    model = compiled(one_layer_t5, candidates=NUM_PIECES, window=1)
    model.loss.z_loss = 0.0
    before, batches = model.prompt_variable.numpy(), Texts(model)

    train_prompt(model, batches, steps=1, seed=0)

    after = model.prompt_variable.numpy()
    (position,) = np.flatnonzero((after != before).any(axis=1))
    weights, losses = numpy_t5.read_weights(one_layer_t5.backbone), []
    for piece in range(3, NUM_PIECES):
        tried = before.astype(np.float64)
        tried[position] = weights.table[piece]
        found = [loss_by_numpy(weights, one_layer_t5, tried, TEXTS[row], TARGETS[row]) for row in (2, 3)]
        losses.append(sum(loss for loss, _ in found) / sum(count for _, count in found))
    np.testing.assert_array_equal(after[position], one_layer_t5.embedding_table[3 + int(np.argmin(losses))])
    text, pieces = found_words(model)
    assert len(pieces) == 4
    assert text == one_layer_t5.tokenizer.detokenize([one_layer_t5.tokenizer.token_to_id(piece) for piece in pieces])


@pytest.fixture(scope="module")
def whole_run(one_layer_t5):
    """A model after six steps without a stop, and what has seen its prompt behind each."""
    whole, spy = compiled(one_layer_t5), Spy()
    train_prompt(whole, Texts(whole), steps=6, seed=0, callbacks=[spy])
    return whole, spy


def test_a_run_that_was_stopped_ends_with_the_same_prompt(one_layer_t5, tmp_path, whole_run):
    whole, spy = whole_run
    first, second = compiled(one_layer_t5), compiled(one_layer_t5, seed=5)
    for model, steps in ((first, 3), (second, 6)):  # stopped in the middle of a window
        train_prompt(model, Texts(model), steps=steps, seed=0, checkpoint_dir=tmp_path, checkpoint_every=1)

    np.testing.assert_array_equal(second.prompt_variable, whole.prompt_variable)
    np.testing.assert_array_equal(second.optimizer.gradient, whole.optimizer.gradient)
    pieces = one_layer_t5.embedding_table[3:NUM_PIECES]
    for prompt in spy.prompts:
        np.testing.assert_array_equal(prompt, pieces[nearest_rows(prompt, pieces)])
    changes = [(a != b).any(axis=1).sum() for a, b in zip(spy.prompts, spy.prompts[1:], strict=False)]
    assert changes[1] == changes[3] == 0  # steps 3 and 5 lie between searches
    assert max(changes) == 1  # a search changes one position


def test_a_run_that_was_interrupted_in_a_search_ends_with_the_same_prompt(
    one_layer_t5, tmp_path, monkeypatch, whole_run
):
    (whole, _), calls = whole_run, []

    def interrupted(batch):
        """Stop as Ctrl-C does, in the second search, while a candidate is in the place of the prompt."""
        calls.append(batch)
        if len(calls) == 12:  # a search tries 4 prompts on 2 batches
            raise KeyboardInterrupt
        return keras.utils.unpack_x_y_sample_weight(batch)

    first, second, spy = compiled(one_layer_t5), compiled(one_layer_t5, seed=5), Spy()
    with monkeypatch.context() as patch:
        patch.setattr(
            token_search, "keras", SimpleNamespace(utils=SimpleNamespace(unpack_x_y_sample_weight=interrupted))
        )
        with pytest.raises(KeyboardInterrupt):
            train_prompt(
                first, Texts(first), steps=6, seed=0, checkpoint_dir=tmp_path, checkpoint_every=3, callbacks=[spy]
            )
    np.testing.assert_array_equal(first.prompt_variable, spy.prompts[-1])  # and no candidate
    train_prompt(second, Texts(second), steps=6, seed=0, checkpoint_dir=tmp_path, checkpoint_every=3)

    np.testing.assert_array_equal(second.prompt_variable, whole.prompt_variable)
    np.testing.assert_array_equal(second.optimizer.gradient, whole.optimizer.gradient)


def test_rows_that_are_no_piece_start_as_the_nearest_one(one_layer_t5):
    model = compiled(one_layer_t5, window=100)
    model.prompt_variable.assign(model.prompt_variable + 0.01)

    model.fit(TEXTS, TARGETS, verbose=0)

    ids = one_layer_t5.tokenize(["the film is"])[0]
    np.testing.assert_array_equal(model.prompt_variable, one_layer_t5.embedding_table[ids])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (residual(3), "AutoPrompt searches the prompt of one task, prompt_tuning. Received: residual."),
        (prompt_tuning(3, task_ids=["a", "b"]), "Received: prompt_tuning with several tasks."),
    ],
    ids=["another method", "several tasks"],
)
def test_what_it_cannot_search_is_refused(one_layer_t5, method, message):
    model = compiled(one_layer_t5, method)
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, TARGETS)).batch(2)

    with pytest.raises((TrainingError, ConfigError), match=message):
        model.optimizer.own_callback(model, dataset)


def test_calls_without_its_callback_are_refused(one_layer_t5):
    model = compiled(one_layer_t5)

    with pytest.raises(TrainingError, match="Received: a call of train_on_batch. Use fit"):
        model.train_on_batch(TEXTS, TARGETS)
    with pytest.raises(TrainingError, match="Received: a CallbackList. Pass a list"):
        model.fit(TEXTS, TARGETS, callbacks=keras.callbacks.CallbackList(model=model), verbose=0)
    with pytest.raises(TrainingError, match=r"needs texts or a tf.data.Dataset.* Received: dict"):
        model.optimizer.own_callback(model, {"encoder_token_ids": np.zeros((1, 2))})


@pytest.mark.parametrize("wrong", [{"candidates": 0}, {"window": 1.5}, {"window": True}])
def test_wrong_numbers_are_refused(wrong):
    name, value = next(iter(wrong.items()))

    with pytest.raises(ConfigError, match=f"`{name}` must be a positive integer. Received: {name}={value}"):
        AutoPrompt(**wrong)


def test_its_settings_are_kept_by_keras():
    made = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(AutoPrompt(candidates=7, window=4, seed=3))
    )

    assert (made.candidates, made.window, made.seed) == (7, 4, 3)
