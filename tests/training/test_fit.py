"""The training loop: what it trains, what it keeps, and that a killed run ends like one that was not."""

import pathlib
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError, NonFiniteLossError, TrainingError
from softprompt_tf.training import KeepBestPrompt, train_prompt

pytestmark = pytest.mark.thorough

HERE = pathlib.Path(__file__).parent


class Spy(keras.callbacks.Callback):
    """Keeps the logs of every batch and the prompt after it."""

    def __init__(self):
        super().__init__()
        self.logs, self.prompts = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(dict(logs))
        self.prompts.append(self.model.prompt_variable.numpy())


def test_only_the_prompt_moves_and_only_it_has_slots(tiny):
    model = tiny.make_model()
    before = [variable.numpy() for variable in model.variables]

    result = train_prompt(model, tiny.RandomBatches(), steps=3, seed=0)

    moved = [v.name for v, old in zip(model.variables, before, strict=True) if np.any(v.numpy() != old)]
    assert moved == ["prompt"]
    slots = model.optimizer.variables[2:]  # after the counter and the learning rate
    assert [tuple(slot.shape) for slot in slots] == [(tiny.PROMPT_LENGTH, tiny.HIDDEN)]
    assert result.steps_done == 3
    assert (result.best_step, result.best_score, result.history, result.stopped_early) == (None, None, (), False)
    assert result.seconds_per_step > 0


def test_training_lowers_the_loss_on_one_batch(tiny):
    class OneBatch(tiny.RandomBatches):
        def batch(self, step):
            return super().batch(tf.zeros_like(step))

    spy = Spy()

    train_prompt(tiny.make_model(), OneBatch(), steps=30, seed=0, callbacks=[spy])

    assert spy.logs[-1]["loss"] < spy.logs[0]["loss"] - 0.1


def test_logged_loss_is_that_of_the_batch_alone(tiny):
    model, spy = tiny.make_model(), Spy()
    batch = next(iter(tiny.RandomBatches().dataset(first_step=2)))

    train_prompt(model, tiny.RandomBatches(), steps=3, seed=0, callbacks=[spy])

    model.prompt_variable.assign(spy.prompts[1])
    expected = float(model.compute_loss(y=batch[1], y_pred=model(batch[0])))
    assert spy.logs[2]["loss"] == pytest.approx(expected, rel=1e-5)


def test_best_prompt_is_in_the_model_at_the_end(tiny):
    model, spy, gains = tiny.make_model(), Spy(), []
    scores = iter([0.2, 0.9, 0.5, 0.9])

    result = train_prompt(
        model,
        tiny.RandomBatches(),
        steps=7,
        seed=0,
        evaluate=lambda: {"accuracy": next(scores), "f1": 0.1},
        evaluate_every=2,
        on_best=lambda prompt, metrics: gains.append((prompt, metrics)),
        callbacks=[spy],
    )

    assert (result.best_step, result.best_score) == (4, pytest.approx(0.5))
    assert [evaluation.step for evaluation in result.history] == [2, 4, 6, 7]
    assert result.history[2].metrics == {"accuracy": 0.5, "f1": 0.1}
    np.testing.assert_array_equal(model.prompt_variable.numpy(), spy.prompts[3])
    assert [metrics["accuracy"] for _, metrics in gains] == [0.2, 0.9]
    np.testing.assert_array_equal(gains[1][0], spy.prompts[3])


def test_patience_stops_the_run(tiny, tmp_path):
    def go_on():
        model = tiny.make_model()
        scores = iter([0.5, 0.4, 0.5, 0.9])
        result = train_prompt(
            model,
            tiny.RandomBatches(),
            steps=20,
            seed=0,
            evaluate=lambda: {"accuracy": next(scores)},
            evaluate_every=2,
            patience=2,
            checkpoint_dir=tmp_path,
        )
        return result, model.prompt_variable.numpy()

    first, first_prompt = go_on()
    again, again_prompt = go_on()

    assert (first.steps_done, first.best_step, first.stopped_early) == (6, 2, True)
    assert (again.steps_done, again.history, again.stopped_early) == (6, first.history, True)
    np.testing.assert_array_equal(again_prompt, first_prompt)


def test_run_that_was_killed_twice_ends_with_the_same_bits(tiny, tmp_path, forked):
    whole, whole_prompt = tiny.run(tmp_path / "whole")

    deaths = [forked.run(HERE / "tiny_run.py", tmp_path / "cut", die_at) for die_at in (3, 7)]
    saved = sorted(path.name for path in (tmp_path / "cut").iterdir())
    result, prompt = tiny.run(tmp_path / "cut")

    assert [death.returncode for death in deaths] == [-signal.SIGKILL] * 2, deaths[0].stderr
    assert saved == ["step-00000004.safetensors", "step-00000006.safetensors"]
    assert result.history == whole.history
    assert (result.steps_done, result.best_step, result.best_score) == (12, whole.best_step, whole.best_score)
    np.testing.assert_array_equal(prompt, whole_prompt)


@pytest.fixture
def sigint_interrupts():
    """Let SIGINT raise KeyboardInterrupt, as in a process of one's own; pytest-xdist's workers ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_interrupts")
def test_interrupt_saves_a_checkpoint_says_so_and_is_raised_again(tiny, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, die_at=5, sent=signal.SIGINT)

    assert (tmp_path / "step-00000005.safetensors").exists()
    assert "Stopped and saved after step 5 of 12. Start it again to continue there." in capsys.readouterr().err
    tiny.run(tmp_path)
    assert "Continues after step 5 of 12." in capsys.readouterr().err


def test_interrupted_evaluation_is_made_up_for(tiny, tmp_path):
    model = tiny.make_model()

    def interrupted():
        raise KeyboardInterrupt

    settings = {"steps": 6, "seed": 0, "evaluate_every": 3, "checkpoint_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        train_prompt(model, tiny.RandomBatches(), evaluate=interrupted, **settings)
    model = tiny.make_model()
    result = train_prompt(model, tiny.RandomBatches(), evaluate=tiny.prompt_mean(model), **settings)

    assert [evaluation.step for evaluation in result.history] == [3, 6]


@pytest.mark.usefixtures("sigint_interrupts")
def test_run_interrupted_behind_its_new_last_step_is_scored_where_it_stands(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, die_at=5, sent=signal.SIGINT)

    result, _ = tiny.run(tmp_path, steps=4)

    assert [evaluation.step for evaluation in result.history] == [3, 5]
    assert (result.steps_done, result.steps_taken) == (5, 0)


def test_seconds_are_those_of_all_processes(tiny, tmp_path):
    first, _ = tiny.run(tmp_path, steps=4)

    finished, _ = tiny.run(tmp_path, steps=4)
    longer, _ = tiny.run(tmp_path, steps=6)

    assert finished.seconds == first.seconds > 0
    assert longer.seconds > first.seconds


def test_without_a_score_that_is_a_number_the_last_evaluation_is_the_chosen_one(tiny):
    def evaluate():
        return {"correlation": float("nan")}

    result = train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=3, seed=0, evaluate=evaluate, evaluate_every=2)

    assert (result.best_step, result.chosen.step) == (None, 3)


def test_finished_run_is_not_trained_again(tiny, tmp_path):
    first, first_prompt = tiny.run(tmp_path)

    again, again_prompt = tiny.run(tmp_path)

    assert (again.steps_done, again.history, again.seconds_per_step) == (12, first.history, 0.0)
    np.testing.assert_array_equal(again_prompt, first_prompt)


def test_finished_run_can_be_made_longer(tiny, tmp_path):
    long_model, model = tiny.make_model(), tiny.make_model()
    train_prompt(long_model, tiny.RandomBatches(), steps=6, seed=0)

    train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=4, seed=0, checkpoint_dir=tmp_path)
    train_prompt(model, tiny.RandomBatches(), steps=6, seed=0, checkpoint_dir=tmp_path)

    np.testing.assert_array_equal(model.prompt_variable.numpy(), long_model.prompt_variable.numpy())


def test_non_finite_loss_names_step_and_rate_and_leaves_the_checkpoint_alone(tiny, tmp_path):
    def loss(y_true, y_pred):
        poison = tf.where(model.optimizer.iterations >= 3, float("nan"), 1.0)
        return tf.reduce_mean(y_pred) * poison

    model = tiny.make_model(loss=loss)

    with pytest.raises(NonFiniteLossError, match=r"must be finite. Received: loss=nan at step 4, learning_rate=0.3"):
        train_prompt(model, tiny.RandomBatches(), steps=9, seed=0, checkpoint_dir=tmp_path, checkpoint_every=1)

    newest = max(path.name for path in tmp_path.iterdir())
    assert newest == "step-00000003.safetensors"


class BreaksAtTheFourth(keras.optimizers.SGD):
    """Makes values of the fourth step that are no numbers, though the loss is one."""

    def update_step(self, gradient, variable, learning_rate):
        variable.assign_add(tf.where(self.iterations >= 3, float("inf"), 0.5) * tf.ones_like(variable))


@pytest.mark.parametrize("steps", [4, 9], ids=["at the last step", "on the way"])
@pytest.mark.parametrize("evaluate_every", [1, 3])
def test_values_that_are_no_numbers_are_neither_scored_nor_kept(tiny, tmp_path, steps, evaluate_every):
    model, asked, spy = tiny.make_model(BreaksAtTheFourth(0.5)), [], Spy()

    def evaluate():  # each look is better than the one before
        asked.append(model.prompt_variable.numpy())
        return {"accuracy": 0.1 * len(asked)}

    settings = {"evaluate": evaluate, "evaluate_every": evaluate_every, "checkpoint_every": 1, "callbacks": [spy]}
    with pytest.raises(NonFiniteLossError, match=r"must be finite\. Received: .* step [46], learning_rate=0.5"):
        train_prompt(model, tiny.RandomBatches(), steps=steps, seed=0, checkpoint_dir=tmp_path, **settings)

    assert np.isfinite(asked).all()
    assert max(path.name for path in tmp_path.iterdir()) == "step-00000003.safetensors"
    np.testing.assert_array_equal(model.prompt_variable.numpy(), spy.prompts[2])  # the best so far


def test_other_seed_or_config_is_refused(tiny, tmp_path):
    def go(**settings):
        train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=2, checkpoint_dir=tmp_path, **settings)

    go(seed=1, config_digest="abc")

    with pytest.raises(TrainingError, match="the seed it began with, 1. Received: seed=2"):
        go(seed=2, config_digest="abc")
    with pytest.raises(TrainingError, match=r"config it began with \(digest 'abc'\). Received: a config of digest 'x'"):
        go(seed=1, config_digest="x")


def test_other_optimizer_is_refused(tiny, tmp_path):
    train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=2, seed=0, checkpoint_dir=tmp_path)

    with pytest.raises(TrainingError, match="must fit the model and its optimizer"):
        train_prompt(
            tiny.make_model(keras.optimizers.Adam(0.1)), tiny.RandomBatches(), steps=4, seed=0, checkpoint_dir=tmp_path
        )


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_that_end_are_an_error(tiny):
    with pytest.raises(TrainingError, match="must go on until step 5. Received: a data set that ended at step 3"):
        train_prompt(tiny.make_model(), tiny.RandomBatches(last_step=3), steps=5, seed=0)


def test_model_that_cannot_be_trained_is_refused(tiny):
    frozen = tiny.make_model()
    frozen.trainable = False

    with pytest.raises(TrainingError, match="without trainable variables"):
        train_prompt(frozen, tiny.RandomBatches(), steps=1, seed=0)
    with pytest.raises(TrainingError, match="must be compiled"):
        train_prompt(keras.Sequential(), tiny.RandomBatches(), steps=1, seed=0)
    with pytest.raises(ConfigError, match="`steps` must be at least 1. Received: steps=0"):
        train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=0, seed=0)


def test_empty_metrics_are_refused(tiny):
    with pytest.raises(TrainingError, match="`evaluate` must return at least one metric"):
        train_prompt(tiny.make_model(), tiny.RandomBatches(), steps=1, seed=0, evaluate=dict)


def test_keep_best_prompt_works_in_plain_fit(tiny):
    model, spy = tiny.make_model(), Spy()
    scores = iter([float("nan"), 0.3, 0.2])
    keep_best = KeepBestPrompt(lambda: {"accuracy": next(scores)}, every_steps=2)

    model.fit(
        tiny.RandomBatches().dataset(first_step=0),
        epochs=2,
        steps_per_epoch=3,
        shuffle=False,
        verbose=0,
        callbacks=[keep_best, spy],
    )

    assert (keep_best.best.step, keep_best.best.score) == (4, 0.3)
    np.testing.assert_array_equal(model.prompt_variable.numpy(), spy.prompts[3])
