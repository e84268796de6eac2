"""Schedule-free Adam against a NumPy twin of the paper's algorithm 1, and what of it a run scores, saves and resumes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError
from softprompt_tf.model.averaged_values import averaged_values
from softprompt_tf.model.compiled_parts import with_own_callback
from softprompt_tf.training import ScheduleFreeAdam, train_prompt

WARM_UP = keras.optimizers.schedules.PolynomialDecay(0.0, decay_steps=3, end_learning_rate=0.3)


def numpy_schedule_free(value, gradients, rates, *, beta_1=0.8, beta_2=0.95, epsilon=1e-8):
    """Yield (y, x) after each step, in float64."""
    z = x = value.astype("float64")
    v, total = np.zeros(value.shape), 0.0
    for count, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        gradient = gradient.astype("float64")
        v = beta_2 * v + (1 - beta_2) * gradient**2
        rate = rate * np.sqrt(1 - beta_2**count)
        z = z - rate * gradient / (np.sqrt(v) + epsilon)
        total += rate**2
        c = rate**2 / total if total else 1.0
        x = (1 - c) * x + c * z
        yield (1 - beta_1) * z + beta_1 * x, x


@pytest.mark.parametrize(
    ("rate", "rates"),
    [(0.3, [0.3] * 5), (WARM_UP, [0.0, 0.1, 0.2, 0.3, 0.3])],
    ids=["steady", "warm-up"],
)
def test_every_step_equals_the_numpy_twin(rate, rates):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(5, 4, 3)).astype("float32")
    optimizer, variable = ScheduleFreeAdam(rate, beta_1=0.8, beta_2=0.95), keras.Variable(np.zeros((4, 3), "float32"))
    optimizer.build([variable])
    variable.assign(start)  # as where a prompt is set after `compile`
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]), autograph=False)

    twin = list(numpy_schedule_free(start, gradients, rates))
    for gradient, (y, _) in zip(gradients, twin, strict=True):
        step(tf.constant(gradient))
        np.testing.assert_allclose(variable.numpy(), y, rtol=2e-5, atol=2e-6)

    for _ in range(2):  # a second time changes nothing
        optimizer.finalize_variable_values([variable])
        np.testing.assert_allclose(variable.numpy(), twin[-1][1], rtol=2e-5, atol=2e-6)


class Trained:
    """A run of the tiny model with the values that it was scored at; the optimizer's y and x are read by formula."""

    def __init__(self, tiny, *, steps=6, evaluate=True, checkpoint_dir=None):
        self.model = tiny.make_model(ScheduleFreeAdam(0.3))
        self.scored = []
        self.result = train_prompt(
            self.model,
            tiny.RandomBatches(),
            steps=steps,
            seed=0,
            evaluate=self._score if evaluate else None,
            evaluate_every=2,
            checkpoint_dir=checkpoint_dir,
            checkpoint_every=100,
        )

    def _score(self):
        self.scored.append(self.prompt)
        return {"steps": float(len(self.scored) == 2)}  # the second evaluation is the best

    @property
    def prompt(self):
        return self.model.prompt_variable.numpy()


@pytest.fixture(scope="module")
def loop(tiny):
    """A model after 6 steps in a loop of one's own, which never puts the average into it, and x after each step."""
    model, averages = tiny.make_model(ScheduleFreeAdam(0.3)), []
    for step in range(6):
        model.train_on_batch(*tiny.RandomBatches().batch(step))
        with averaged_values(model):
            averages.append(model.prompt_variable.numpy())
    return model, averages


@pytest.fixture
def averages(loop):
    return loop[1]


def test_a_run_scores_and_keeps_the_average(tiny, averages):
    run = Trained(tiny)

    np.testing.assert_array_equal(run.scored, [averages[step - 1] for step in (2, 4, 6)])
    assert run.result.best_step == 4
    np.testing.assert_array_equal(run.prompt, averages[3])


def test_a_run_without_evaluations_ends_with_the_average(tiny, averages):
    np.testing.assert_array_equal(Trained(tiny, evaluate=False).prompt, averages[-1])


def test_a_resumed_run_ends_bit_by_bit_the_same(tiny, averages, tmp_path):
    Trained(tiny, steps=3, evaluate=False, checkpoint_dir=tmp_path / "checkpoints")

    resumed = Trained(tiny, evaluate=False, checkpoint_dir=tmp_path / "checkpoints")
    finished = Trained(tiny, evaluate=False, checkpoint_dir=tmp_path / "checkpoints")

    assert (resumed.result.steps_taken, finished.result.steps_taken) == (3, 0)
    np.testing.assert_array_equal(resumed.prompt, averages[-1])
    np.testing.assert_array_equal(finished.prompt, averages[-1])


def test_the_average_is_held_within_a_block_alone(loop):
    model, averages = loop
    before = model.prompt_variable.numpy()

    with pytest.raises(KeyboardInterrupt), averaged_values(model):
        np.testing.assert_array_equal(model.prompt_variable.numpy(), averages[-1])
        raise KeyboardInterrupt

    np.testing.assert_array_equal(model.prompt_variable.numpy(), before)
    assert np.any(before != averages[-1])


@pytest.mark.parametrize("restores", ["last", "best"])
def test_fit_validates_the_average_and_keeps_it(tiny, restores):
    model, rows = tiny.make_model(ScheduleFreeAdam(0.3)), tiny.RandomBatches(last_step=2).dataset(first_step=0)
    best = keras.callbacks.EarlyStopping(restore_best_weights=True, mode="max", patience=9)  # the first epoch's
    callbacks = with_own_callback(model, None, None if restores == "last" else best)

    history = model.fit(rows, validation_data=rows, epochs=2, verbose=0, callbacks=callbacks)

    # The model holds the average by now, which that validation was of.
    assert model.evaluate(rows, verbose=0) == history.history["val_loss"][-1 if restores == "last" else 0]


@pytest.mark.parametrize("by", ["a second fit", pytest.param("a backup", marks=pytest.mark.thorough)])
def test_training_goes_on_from_an_average_as_if_it_had_not_stopped(tiny, tmp_path, by):
    rows = tiny.RandomBatches(last_step=2).dataset(first_step=0)

    def fit(model, epochs):
        kept = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False) if by == "a backup" else []
        callbacks = with_own_callback(model, None, kept)
        model.fit(rows, validation_data=rows, epochs=epochs, verbose=0, callbacks=callbacks)
        return model

    again = fit(tiny.make_model(ScheduleFreeAdam(0.3)), 1)
    if by == "a backup":
        again = fit(tiny.make_model(ScheduleFreeAdam(0.3)), 2)  # another process, which does the second epoch alone
    else:
        fit(again, 1)

    alone = tiny.make_model(ScheduleFreeAdam(0.3))
    alone.fit(rows, epochs=2, verbose=0)
    assert int(again.optimizer.iterations) == 4
    np.testing.assert_array_equal(again.prompt_variable.numpy(), alone.prompt_variable.numpy())


def test_values_stay_until_the_batches_of_the_first_step_are_there():
    optimizer, variable = ScheduleFreeAdam(0.3, gradient_accumulation_steps=3), keras.Variable([2.0])
    found = []
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], [variable])
        optimizer.finalize_variable_values([variable])
        found.append(float(variable.numpy()[0]))

    # z = 2 - rate * sqrt(1 - beta_2) * g / sqrt((1 - beta_2) g^2) = 2 - 0.3, and the average of one step is z.
    np.testing.assert_allclose(found, [2.0, 2.0, 1.7], rtol=1e-5)


def test_config_round_trip():
    optimizer = ScheduleFreeAdam(WARM_UP, beta_1=0.8, beta_2=0.9, epsilon=1e-6)

    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))

    assert isinstance(again, ScheduleFreeAdam)
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta_1": 1.0}, "`beta_1` must be above 0 and below 1. Received: beta_1=1.0"),
        ({"weight_decay": 0.1}, "no weight decay. Received: weight_decay=0.1. Leave it out"),
        ({"use_ema": True}, "an average of its own and no weight decay. Received: use_ema=True"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ScheduleFreeAdam(**settings)
