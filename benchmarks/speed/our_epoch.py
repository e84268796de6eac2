"""An epoch of real rows on our side: the stream and the loop of `softprompt train`, with its defaults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.speed import inputs
from softprompt_tf.config import TrainingConfig
from softprompt_tf.tasks import BatchStream, TokenizedExamples
from softprompt_tf.training.callbacks import steps_done


def epoch(model: sp.PromptedT5, case: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    """One epoch; the losses of a few steps on rows in their order, and the positions that an epoch's batches have."""
    model.compile(optimizer=keras.optimizers.SGD(case["rate"]), loss=sp.TargetCrossEntropy(z_loss=0.0))
    examples = read(Path(case["token_ids"]))
    settings = {"length_buckets": TrainingConfig().length_buckets, **case.get("stream", {})}
    stream = BatchStream(examples, batch_size=case["rows"], seed=1, **settings)
    train(model, stream, 2)  # its graph is made
    model.prompt_variable.assign(inputs.prompt(case["prompt"], model.t5.hidden_dim))
    values = []
    for k in range(3):
        model.reset_metrics()
        rows = np.arange(k * case["rows"], (k + 1) * case["rows"])
        values.append(float(model.train_on_batch(*examples.batch(rows, with_task_id=False, pad_id=0, start_id=0))))
    widths = [stream.batch(step)[0]["encoder_token_ids"].size for step in range(stream.steps_per_epoch)]
    return lambda: train(model, stream, stream.steps_per_epoch), {"values": values, "positions": sum(widths)}


def train(model: sp.PromptedT5, stream: BatchStream, steps: int) -> None:
    """Take so many more steps."""
    sp.train_prompt(model, stream, steps=steps_done(model) + steps, seed=1)


def read(path: Path) -> TokenizedExamples:
    """Read the rows that `real_rows` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    inputs, targets = ([np.array(row, np.int32) for row in found[key]] for key in ("inputs", "targets"))
    return TokenizedExamples(tuple(inputs), tuple(targets), np.zeros(len(inputs), np.int32))
