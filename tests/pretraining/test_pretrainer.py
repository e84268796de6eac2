"""The pretraining loop on a tiny T5: it learns, it goes on after a stop as if there had been none, and its preset loads."""

import dataclasses
import json
import math
import shutil

import h5py
import keras
import numpy as np
import pytest

from softprompt_tf.backbones import load_t5, write_preset
from softprompt_tf.backbones.fingerprint import weights_fingerprint
from softprompt_tf.errors import NonFiniteLossError, TrainingError
from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import Mixture, PretrainingBatches
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.pretrainer import Pretrainer, PretrainingRun
from softprompt_tf.pretraining.run_log import RunLog

pytestmark = pytest.mark.thorough

SHAPE = BackboneShape(
    vocabulary_size=100, hidden_dim=16, intermediate_dim=24, num_layers=1, num_heads=2, key_value_dim=8
)
RUN = PretrainingRun(
    steps=24, warmup_steps=2, cooldown_steps=2, checkpoint_every=3, log_every=8, measure_every=16, precision="float32"
)
MIXTURE = Mixture(prefix_lm=1.0, instructions=1.0, rows=4, instruction_rows=4, window=24, max_instruction_tokens=24)
WIDTH = 48


@pytest.fixture(scope="module")
def batches(corpus, tokenizer):
    return PretrainingBatches(PassageSource(corpus), tokenizer, MIXTURE, first_sentinel=99, seed=1)


@pytest.fixture(scope="module")
def held_out(batches):
    rng = np.random.default_rng(0)
    return {name: [widen(batches.batch_of(name, rng))] for name in ("prefix_lm", "instructions")}


class OneWidth:
    """The same batches, padded to one width, so that a run is traced once; calls `before_step` as a step begins."""

    def __init__(self, batches, before_step=lambda step: None):
        self._batches = batches
        self._before_step = before_step

    def prefetch(self, first_step, last_step):
        for step, objective, batch in self._batches.prefetch(first_step, last_step):
            self._before_step(step)
            yield step, objective, widen(batch)


def widen(batch):
    return {key: np.pad(array, ((0, 0), (0, WIDTH - array.shape[1]))) for key, array in batch.items()}


def make_trainer(directory, *, run=RUN, shape=SHAPE):
    return Pretrainer(build_backbone(shape, dtype=run.precision, seed=run.seed), run, directory)


def values_of(backbone):
    return [keras.ops.convert_to_numpy(weight) for weight in backbone.weights]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, batches, held_out):
    """A finished run; `after_step_3.safetensors` is the state that it would have left if it had been killed then."""
    trainer = make_trainer(tmp_path_factory.mktemp("uninterrupted"))

    def keep_a_copy(step):
        if step == 3:
            shutil.copy(trainer.directory / "state.safetensors", trainer.directory / "after_step_3.safetensors")

    trainer.fit(OneWidth(batches, keep_a_copy), held_out)
    return trainer


# === The settings ===


def test_rate_factor_by_hand():
    run = PretrainingRun(steps=100, warmup_steps=10, cooldown_steps=20)

    factors = [run.rate_factor(step) for step in (0, 4, 9, 50, 80, 81, 99)]

    assert factors == pytest.approx([0.1, 0.5, 1, 1, 1, 0.95, 0.05])


def test_without_cool_down_the_rate_stays_at_its_peak():
    assert PretrainingRun(steps=100, warmup_steps=1, cooldown_steps=0).rate_factor(99) == 1


def test_seed_decides_the_weights_and_the_shape_is_that_of_t5_1_1():
    first, same, other = (values_of(build_backbone(SHAPE, dtype="float32", seed=seed)) for seed in (1, 1, 2))

    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    # One layer each of hidden 16, inner 24, 2 heads of 8: attention 4 * 16 * 16, gated feed-forward 3 * 16 * 24.
    attention, feed_forward, norm, bias = 4 * 16 * 16, 3 * 16 * 24, 16, 32 * 2
    encoder = attention + bias + feed_forward + 2 * norm + norm
    decoder = 2 * attention + bias + feed_forward + 3 * norm + norm
    assert sum(value.size for value in first) == 2 * 100 * 16 + encoder + decoder  # the head has a table of its own


# === The loop ===


def test_loss_at_random_weights_is_the_mean_over_real_targets(tmp_path, held_out):
    trainer = make_trainer(tmp_path)
    (batch,) = held_out["prefix_lm"]

    loss = trainer.measure([batch])

    inputs = {key: value for key, value in batch.items() if key != "targets"}
    outputs = trainer.backbone({**inputs, "decoder_padding_mask": np.ones_like(batch["targets"])})
    states = keras.ops.convert_to_numpy(outputs["decoder_sequence_output"]).astype("float64")
    logits = states @ keras.ops.convert_to_numpy(trainer.backbone.token_embedding.reverse_embeddings)
    log_sums = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, batch["targets"][..., None], -1)[..., 0]
    assert loss == pytest.approx((log_sums - picked)[batch["targets"] != 0].mean(), rel=1e-5)


def test_loss_falls(tmp_path, held_out, uninterrupted):
    untrained = make_trainer(tmp_path)

    for rows in held_out.values():
        assert uninterrupted.measure(rows) < 0.9 * untrained.measure(rows)


def test_a_run_stopped_after_step_3_and_resumed_ends_as_one_that_was_not(tmp_path, batches, uninterrupted):
    shutil.copy(uninterrupted.directory / "after_step_3.safetensors", tmp_path / "state.safetensors")
    resumed = make_trainer(tmp_path)
    assert resumed.load_state()
    assert resumed.step == 3

    resumed.fit(OneWidth(batches), {})

    assert resumed.step == 24
    for value, expected in zip(values_of(resumed.backbone), values_of(uninterrupted.backbone), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
    slots = [trainer.optimizer.variables for trainer in (resumed, uninterrupted)]
    assert int(slots[0][0]) == 24  # the steps that the optimizer counted
    for value, expected in zip(*slots, strict=True):
        np.testing.assert_allclose(np.asarray(value), np.asarray(expected), rtol=1e-4, atol=1e-6)


def log_of(directory):
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_s"} for line in lines]


def test_a_resumed_run_reports_the_losses_of_before_as_well(tmp_path, batches, uninterrupted):
    shutil.copy(uninterrupted.directory / "after_step_3.safetensors", tmp_path / "state.safetensors")
    resumed = make_trainer(tmp_path)
    resumed.load_state()

    resumed.fit(OneWidth(batches), {})

    reports = [line for line in log_of(uninterrupted.directory) if "loss" in line]
    for line, expected in zip(log_of(tmp_path), reports, strict=True):
        assert line == {**expected, "loss": pytest.approx(expected["loss"], abs=2e-4)}


def interrupt(step, at):
    if step == at:
        raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_from_the_step_that_it_was_at(tmp_path, batches, held_out, uninterrupted):
    trainer = make_trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(OneWidth(batches, lambda step: interrupt(step, 5)), held_out)
    resumed = make_trainer(tmp_path)
    assert resumed.load_state()
    assert resumed.step == 5

    resumed.fit(OneWidth(batches), held_out)

    for value, expected in zip(values_of(resumed.backbone), values_of(uninterrupted.backbone), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
    assert [line["step"] for line in log_of(tmp_path)] == [line["step"] for line in log_of(uninterrupted.directory)]


def test_a_step_whose_end_an_interrupt_cut_off_is_counted(tmp_path, batches, monkeypatch):
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer._recent, "add", lambda step, *loss: interrupt(step, 3))

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(OneWidth(batches), {})

    resumed = make_trainer(tmp_path)
    assert resumed.load_state()
    assert (resumed.step, int(resumed.optimizer.iterations), resumed.num_tokens) == (4, 4, trainer.num_tokens)


def test_a_measurement_that_was_interrupted_is_made_up_for(tmp_path, batches, held_out, monkeypatch):
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer, "measure", lambda rows: interrupt(trainer.step, 16) or 1.0)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(OneWidth(batches), held_out)
    resumed = make_trainer(tmp_path)
    resumed.load_state()

    resumed.fit(OneWidth(batches), held_out)

    steps = [(line["step"], "held_out" in line) for line in log_of(tmp_path)]
    assert steps == [(0, True), (8, False), (16, False), (16, True), (24, False), (24, True)]


def test_a_finished_run_has_nothing_left_to_do(uninterrupted, batches):
    again = make_trainer(uninterrupted.directory)
    assert again.load_state()
    before = values_of(again.backbone)

    again.fit(batches, {})

    assert all(np.array_equal(a, b) for a, b in zip(values_of(again.backbone), before, strict=True))


def test_log_tells_steps_tokens_losses_and_what_was_measured(uninterrupted, batches, held_out):
    lines = [json.loads(line) for line in (uninterrupted.directory / "log.jsonl").read_text().splitlines()]

    training, measured = ([line for line in lines if key in line] for key in ("loss", "held_out"))
    assert [line["step"] for line in training] == [8, 16, 24]
    assert [line["step"] for line in measured] == [0, 16, 24]  # before the first step too
    assert len(lines) == 6
    drawn = [batches.batch(step) for step in range(24)]
    num_tokens = [sum(int((b[key] != 0).sum()) for key in ("encoder_token_ids", "targets")) for _, b in drawn]
    assert [line["num_tokens"] for line in training] == [sum(num_tokens[:k]) for k in (8, 16, 24)]
    assert [line["num_tokens"] for line in measured] == [sum(num_tokens[:k]) for k in (0, 16, 24)]
    assert [set(line["loss"]) for line in training] == [{name for name, _ in drawn[k : k + 8]} for k in (0, 8, 16)]
    assert measured[-1]["held_out"] == {
        name: pytest.approx(uninterrupted.measure(rows), abs=1e-4) for name, rows in held_out.items()
    }


def test_non_finite_loss_stops_the_run_and_keeps_the_state(tmp_path, batches):
    trainer = make_trainer(tmp_path)
    trainer.step = 2
    trainer.save_state()
    trainer.backbone.token_embedding.embeddings.assign(np.full((100, 16), np.nan))

    with pytest.raises(NonFiniteLossError, match=r"The loss must be finite\. Received: nan at step 2, rate 0\.02\."):
        trainer.fit(batches, {})

    assert trainer.load_state()
    assert trainer.step == 2
    assert all(np.isfinite(value).all() for value in values_of(trainer.backbone))


# === The state ===


def test_new_directory_has_no_state(tmp_path):
    trainer = make_trainer(tmp_path / "new" / "run")

    assert not trainer.load_state()
    assert trainer.step == 0


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-5])


def of_another_shape(path):
    wider = BackboneShape(**{**vars(SHAPE), "intermediate_dim": 32})
    make_trainer(path.parent, shape=wider).save_state()


@pytest.mark.parametrize("damage", [cut_short, of_another_shape])
def test_state_that_does_not_fit_is_refused(tmp_path, damage):
    trainer = make_trainer(tmp_path)
    trainer.save_state()
    damage(tmp_path / "state.safetensors")

    with pytest.raises(TrainingError, match=r"whole and of the run's own backbone\. Received: .*state\.safetensors"):
        trainer.load_state()


def test_state_replaces_the_last_one_and_nothing_else_is_left(tmp_path):
    trainer = make_trainer(tmp_path)

    for trainer.step in (1, 2):
        trainer.save_state()

    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    assert trainer.load_state()
    assert trainer.step == 2


def test_a_state_that_is_saved_again_holds_the_weights_of_then(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.save_state()
    trainer.backbone.token_embedding.embeddings.assign(np.ones((100, 16), np.float32))

    trainer.save_state()

    again = make_trainer(tmp_path)
    again.load_state()
    np.testing.assert_array_equal(np.asarray(again.backbone.token_embedding.embeddings), np.ones((100, 16)))


def test_a_state_of_other_settings_is_refused_by_name(tmp_path):
    make_trainer(tmp_path).save_state()
    faster, longer = (dataclasses.replace(RUN, **change) for change in ({"peak_learning_rate": 0.5}, {"steps": 99}))

    assert make_trainer(tmp_path, run=longer).load_state()
    with pytest.raises(TrainingError, match=r"`peak_learning_rate` is 0\.5, it was 0\.02"):
        make_trainer(tmp_path, run=faster).load_state()


# === The preset ===


@pytest.fixture(scope="module")
def preset(uninterrupted, vocabulary, tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "tiny"
    write_preset(uninterrupted.backbone, vocabulary, directory)
    return directory


def test_preset_loads_with_the_rounded_weights(preset, uninterrupted):
    t5 = load_t5(preset)

    rounded = [value.astype("float16").astype("float32") for value in values_of(uninterrupted.backbone)]
    for value, expected in zip(values_of(t5.backbone), rounded, strict=True):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected)
    twin = build_backbone(SHAPE, dtype="float32", seed=7)
    twin.set_weights(rounded)
    assert weights_fingerprint(t5.backbone) == weights_fingerprint(twin)


def test_preset_holds_float16_on_the_disk(preset):
    dtypes = []
    with h5py.File(preset / "model.weights.h5") as file:
        file.visititems(lambda _, item: dtypes.append(item.dtype.name) if isinstance(item, h5py.Dataset) else None)

    assert set(dtypes) == {"float16"}


def test_preset_has_the_vocabulary_and_the_settings_of_t5_1_1(preset, tokenizer):
    t5 = load_t5(preset)

    text = "The old mill of Orvel."
    assert list(t5.tokenizer(text)) == tokenizer.encode(text)
    assert t5.vocabulary_size == 100
    config = t5.backbone.get_config()
    assert config["use_gated_activation"]
    assert not config["tie_embedding_weights"]
    assert config["dropout"] == 0


def test_preset_computes_as_the_trained_model_does(preset, uninterrupted, held_out):
    (batch,) = held_out["instructions"]
    loaded = Pretrainer(load_t5(preset).backbone, RUN, preset.parent / "measured")

    assert loaded.measure([batch]) == pytest.approx(uninterrupted.measure([batch]), rel=2e-3)
    assert math.isfinite(loaded.measure([batch]))


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(TrainingError, match=r"The log .*log.jsonl cannot be written. Received: .*No such file"):
        RunLog(tmp_path / "removed" / "log.jsonl").write(1)
