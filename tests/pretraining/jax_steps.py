"""Pretraining of a tiny backbone on one batch, under whichever Keras backend runs."""

import tempfile
from pathlib import Path

import numpy as np

SIZES = {
    "vocabulary_size": 40, "hidden_dim": 8, "intermediate_dim": 12, "num_layers": 2, "num_heads": 2, "key_value_dim": 4,
}  # fmt: skip
STEPS, RATE = 3, 0.05


class OneBatch:
    """The same batch at every step."""

    def __init__(self, batch):
        self.batch = batch

    def prefetch(self, first_step, last_step):
        for step in range(first_step, last_step):
            yield step, "prefix_lm", self.batch


def trained(weights, batch):
    """Return the losses of `STEPS` steps, the loss behind them, and the weights then; under any backend."""
    import keras

    from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
    from softprompt_tf.pretraining.pretrainer import Pretrainer, PretrainingRun

    run = PretrainingRun(steps=STEPS, precision="float32", checkpoint_every=2)
    backbone = build_backbone(BackboneShape(**SIZES), dtype="float32", seed=1)
    for variable, value in zip(backbone.weights, weights, strict=True):
        variable.assign(value)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Pretrainer(backbone, run, directory)
        losses = [float(trainer.take_step(batch, RATE)) for _ in range(STEPS)]
        losses.append(trainer.take_step.loss(batch))
        trainer.take_step.write_back()
    return losses, [keras.ops.convert_to_numpy(weight) for weight in backbone.weights]


def stopped_and_resumed(batch):
    """Return the largest difference between a run and one that was stopped after two of three steps; and what on_checkpoint saw."""
    import keras

    from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
    from softprompt_tf.pretraining.pretrainer import Pretrainer, PretrainingRun

    run = PretrainingRun(steps=3, precision="float32", checkpoint_every=2, warmup_steps=1, cooldown_steps=1)
    seen = []

    def make(directory, steps=3):
        backbone = build_backbone(BackboneShape(**SIZES), dtype="float32", seed=1)
        return Pretrainer(backbone, PretrainingRun(**{**vars(run), "steps": steps}), directory,
                          on_checkpoint=lambda trainer: seen.append(trainer.step))  # fmt: skip

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        make(one).fit(OneBatch(batch), {})
        make(other, steps=2).fit(OneBatch(batch), {})
        resumed, finished = make(other), make(one)
        assert resumed.load_state()
        resumed.fit(OneBatch(batch), {})
        assert finished.load_state()
        pairs = zip(resumed.backbone.weights, finished.backbone.weights, strict=True)
        return max(float(keras.ops.max(keras.ops.abs(a - b))) for a, b in pairs), seen


def non_finite(batch):
    """Return what a run says whose weights are infinite."""
    from softprompt_tf.errors import NonFiniteLossError
    from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
    from softprompt_tf.pretraining.pretrainer import Pretrainer, PretrainingRun

    backbone = build_backbone(BackboneShape(**SIZES), dtype="float32", seed=1)
    backbone.decoder_layer_norm.weight.assign(np.full(SIZES["hidden_dim"], np.nan, np.float32))
    with tempfile.TemporaryDirectory() as directory:
        trainer = Pretrainer(backbone, PretrainingRun(steps=3, precision="float32"), directory)
        try:
            trainer.fit(OneBatch(batch), {})
        except NonFiniteLossError as error:
            return str(error), (Path(directory) / "state.safetensors").exists()
    return "no error", True


def write_steps(given_path, path):
    """Read the weights `w0`, `w1`, ... of a backbone of `SIZES` and the arrays of one batch; write what comes of them."""
    given = dict(np.load(given_path))
    weights = [given.pop(f"w{k}") for k in range(sum(name.startswith("w") for name in given))]
    losses, after = trained(weights, given)
    differs, seen = stopped_and_resumed(given)
    message, is_kept = non_finite(given)
    np.savez(
        path, losses=losses, differs=differs, seen=seen, message=message, is_kept=is_kept,
        **{f"w{k}": value for k, value in enumerate(after)},
    )  # fmt: skip
