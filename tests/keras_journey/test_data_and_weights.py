"""Every form of data, and every way to weigh rows, gives the loss that is told by hand from the rows' own losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_user import INPUTS, TARGETS

from softprompt_tf.errors import DataError

pytestmark = pytest.mark.thorough

WEIGHTS = [1.0, 0.5, 2.0, 0.0, 3.0]


class Steps(keras.callbacks.Callback):
    """Keeps how many steps Keras foretells and how many there were, of training and of each evaluation."""

    def on_train_begin(self, logs=None):
        self.foretold, self.taken = self.params["steps"], 0

    def on_train_batch_end(self, batch, logs=None):
        self.taken += 1


def mean(row_losses, weights=None, rows=slice(None)):
    """Return the mean loss per token of some rows: each token weighs as its row does."""
    losses, tokens = row_losses
    weights = np.ones(len(losses)) if weights is None else np.array(weights)
    return np.sum((weights * losses)[rows]) / np.sum((weights * tokens)[rows])


class Batches(keras.utils.PyDataset):
    def __init__(self, *columns, **kwargs):
        super().__init__(**kwargs)
        self.columns = columns

    def __len__(self):
        return 3

    def __getitem__(self, k):
        return tuple(column[2 * k : 2 * k + 2] for column in self.columns)


def generator(*columns):
    yield from (batch for batch in map(Batches(*columns).__getitem__, range(3)))


def of_unknown_rank(*columns):
    dataset = tf.data.Dataset.from_generator(lambda: generator(*columns), output_types=(tf.string, tf.string))
    return dataset.apply(tf.data.experimental.assert_cardinality(3))


FORMS = {
    "lists": lambda: ((INPUTS, TARGETS), {"batch_size": 2}),
    "dictionary": lambda: (({"encoder_text": INPUTS, "decoder_text": TARGETS},), {"batch_size": 2}),
    "dataset": lambda: ((tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(2),), {}),
    "dataset of an unknown rank": lambda: ((of_unknown_rank(INPUTS, TARGETS),), {}),
    "PyDataset": lambda: ((Batches(INPUTS, TARGETS),), {}),
    "PyDataset in threads": lambda: ((Batches(INPUTS, TARGETS, workers=2),), {}),
    "generator": lambda: ((generator(INPUTS, TARGETS),), {}),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_every_form_trains_and_evaluates(model, row_losses, make):
    steps = Steps()
    args, kwargs = make()

    history = model.fit(*args, **kwargs, verbose=0, callbacks=[steps]).history

    assert history["loss"] == pytest.approx([mean(row_losses)], rel=1e-4)
    assert steps.taken == 3
    assert steps.foretold == (None if "generator" in str(type(args[0])) else 3)
    args, kwargs = make()
    assert model.evaluate(*args, **kwargs, verbose=0, return_dict=True)["loss"] == pytest.approx(
        mean(row_losses), rel=1e-4
    )


def test_a_frame_is_a_dictionary_of_columns(model, row_losses):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"encoder_text": INPUTS, "decoder_text": TARGETS})

    by_columns = model.evaluate(frame, verbose=0)[0]
    by_series = model.evaluate(frame.encoder_text, frame.decoder_text, verbose=0)[0]

    assert by_columns == by_series == pytest.approx(mean(row_losses), rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, None])
def test_the_loss_does_not_depend_on_the_batch_size(model, row_losses, batch_size):
    loss, *metrics = model.evaluate(INPUTS, TARGETS, batch_size=batch_size, verbose=0)

    assert loss == pytest.approx(mean(row_losses), rel=1e-4)
    assert metrics == pytest.approx(model.evaluate(INPUTS, TARGETS, batch_size=5, verbose=0)[1:], rel=1e-5)


# === Weights ===


def test_a_weight_is_its_rows(model, row_losses):
    expected = pytest.approx(mean(row_losses, WEIGHTS), rel=1e-4)
    pairs = (INPUTS, TARGETS, WEIGHTS)

    assert model.fit(INPUTS, TARGETS, sample_weight=WEIGHTS, batch_size=2, verbose=0).history["loss"] == [expected]
    assert model.fit(Batches(*pairs), verbose=0).history["loss"] == [expected]
    assert model.evaluate(INPUTS, TARGETS, sample_weight=WEIGHTS, verbose=0)[0] == expected
    assert model.evaluate(tf.data.Dataset.from_tensor_slices(pairs).batch(2), verbose=0)[0] == expected
    assert model.evaluate(generator(*pairs), verbose=0)[0] == expected
    history = model.fit(INPUTS, TARGETS, validation_data=pairs, verbose=0).history
    assert history["val_loss"] == [expected]
    assert history["loss"] == [pytest.approx(mean(row_losses), rel=1e-4)]


@pytest.mark.parametrize("class_weight", [{"no": 0.0, "good": 3}, {1: 0.0, 0: 3.0}], ids=["words", "indices"])
def test_a_class_weight_is_that_of_the_rows_with_that_target(model, row_losses, class_weight):
    expected = pytest.approx(mean(row_losses, [3, 0, 1, 0, 3]), rel=1e-4)
    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(2)

    assert model.fit(INPUTS, TARGETS, class_weight=class_weight, batch_size=2, verbose=0).history["loss"] == [expected]
    assert model.fit(dataset, class_weight=class_weight, verbose=0).history["loss"] == [expected]


def test_one_batch_is_weighed_too(model, row_losses):
    expected = pytest.approx(mean(row_losses, WEIGHTS), rel=1e-4)
    by_class = pytest.approx(mean(row_losses, [3, 0, 1, 0, 3]), rel=1e-4)

    assert model.train_on_batch(INPUTS, TARGETS, WEIGHTS)[0] == expected
    assert model.test_on_batch(INPUTS, TARGETS, WEIGHTS, return_dict=True)["loss"] == expected
    assert (
        model.train_on_batch(INPUTS, TARGETS, class_weight={"no": 0, "good": 3}, return_dict=True)["loss"] == by_class
    )


def test_weights_of_token_dictionaries_are_per_row_under_losses_of_keras(t5, model, row_losses):
    tokens, targets = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0, reduction="sum")
    own, model.loss = model.loss, loss

    try:
        total = model.compute_loss(tokens, targets, model(tokens), tf.constant(WEIGHTS))
        compiled = loss(targets, model(tokens), tf.constant(WEIGHTS)[:, None])
    finally:
        model.loss = own

    assert float(compiled) == pytest.approx(np.sum(np.array(WEIGHTS) * row_losses[0]), rel=1e-4)
    assert float(total) == pytest.approx(mean(row_losses, WEIGHTS), rel=1e-4)


# === Steps, splits and validation ===


def test_weights_of_rows_and_of_tokens_may_follow_each_other(model, row_losses):
    tokens, targets = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})
    per_row = np.array(WEIGHTS)
    per_token = per_row[:, None] * np.ones(targets.shape)

    losses = [model.fit(tokens, targets, sample_weight=w, verbose=0).history["loss"] for w in (per_token, per_row)]

    assert losses == [pytest.approx([mean(row_losses, WEIGHTS)], rel=1e-4)] * 2


def test_tokens_without_targets_are_refused(model):
    tokens, _ = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})

    with pytest.raises(DataError, match="Token dictionaries need targets beside them. Received: none"):
        model.test_on_batch(tokens)


def test_steps_never_run_dry(model, row_losses):
    steps = Steps()

    history = model.fit(
        INPUTS, TARGETS, batch_size=2, steps_per_epoch=6, epochs=2, shuffle=False, verbose=0, callbacks=[steps]
    ).history

    assert (steps.foretold, steps.taken) == (6, 12)
    assert history["loss"] == pytest.approx([mean(row_losses)] * 2, rel=1e-4)  # each epoch reads every row twice


def test_steps_without_a_batch_size_read_every_row(model, row_losses):
    assert model.fit(INPUTS, TARGETS, steps_per_epoch=2, verbose=0).history["loss"] == pytest.approx(
        [mean(row_losses)], rel=1e-4
    )
    assert model.evaluate(INPUTS, TARGETS, steps=3, verbose=0)[0] == pytest.approx(mean(row_losses), rel=1e-4)


def test_validation_takes_a_share_a_pair_a_list_its_own_batch_size_and_steps(model, row_losses):
    last = [pytest.approx(mean(row_losses, rows=slice(3, 5)), rel=1e-4)]
    every = [pytest.approx(mean(row_losses), rel=1e-4)]
    first_two = [pytest.approx(mean(row_losses, rows=slice(2)), rel=1e-4)]

    def val_loss(**kwargs):
        return model.fit(INPUTS, TARGETS, verbose=0, **kwargs).history["val_loss"]

    assert val_loss(validation_split=0.4) == last
    fourth = [pytest.approx(mean(row_losses, rows=slice(3, 4)), rel=1e-4)]
    assert val_loss(validation_split=0.4, validation_batch_size=1, validation_steps=1) == fourth
    assert val_loss(validation_split=0.4, validation_data=(INPUTS, TARGETS)) == every
    assert val_loss(validation_data=[INPUTS, TARGETS], validation_batch_size=2, validation_steps=1) == first_two
    assert val_loss(validation_data=Batches(INPUTS, TARGETS), batch_size=5) == every


def test_tokens_in_memory_may_be_validated_beside_texts(model, row_losses):
    tokens, targets = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})

    history = model.fit(INPUTS, TARGETS, batch_size=2, validation_data=(tokens, targets), verbose=0).history

    assert history["val_loss"] == [pytest.approx(mean(row_losses), rel=1e-4)]


def test_logits_of_texts_are_refused_and_those_of_tokens_are_given(model):
    tokens, targets = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})

    assert model.predict(tokens, verbose=0).shape == (*targets.shape, 128)
    for ask in (model.predict, model.predict_on_batch):
        with pytest.raises(DataError, match="returns logits.*Use generate, classify or score"):
            ask(INPUTS)
    for none in ({name: value[:0] for name, value in tokens.items()}, tf.data.Dataset.from_tensors(tokens).take(0), []):
        with pytest.raises(DataError, match="at least one row. Received: none in"):
            model.predict(none, verbose=0)


def test_a_call_takes_a_dictionary(model):
    tokens, _ = model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS})

    with pytest.raises(DataError, match="A call takes a dictionary of token ids. Received: a list"):
        model(list(tokens.values()))


def test_a_dataset_that_a_filter_has_emptied_is_refused(model):
    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).filter(lambda *_: False).batch(2)

    for ask in (model.evaluate, model.fit):
        with pytest.raises(DataError, match="at least one row. Received: one that ended without a row"):
            ask(dataset, verbose=0)


def test_an_error_in_the_users_data_ends_fit_as_it_was(model):
    def batches():
        yield INPUTS, TARGETS
        yield INPUTS, [1, 2, 3, 4, 5]

    with pytest.raises(DataError, match="Every text must be a string. Received: 1"):
        model.fit(batches(), verbose=0)
