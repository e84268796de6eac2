"""The worker that runs softprompt_tf."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.speed import inputs
from benchmarks.speed.protocol import ROOT, serve_standard


def prepare(case: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    """Return one training step, and the losses of the first steps."""
    vocabulary = next((ROOT / "softprompt_tf/t5/bundled/mini").rglob("*.spm"))
    t5 = sp.load_t5(Path(case["model"]), vocabulary=vocabulary)
    method = sp.prompt_tuning(case["prompt"], sp.init.from_array(inputs.prompt(case["prompt"])))
    model = sp.PromptedT5(t5, method)
    model.compile(optimizer=keras.optimizers.SGD(case["rate"]), loss=sp.TargetCrossEntropy(z_loss=0.0))
    ids, targets = (value.astype(np.int32) for value in inputs.batch(case["rows"], case["length"], case["targets"]))
    tokens = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": np.ones_like(ids),
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": np.ones_like(targets),
    }

    def step() -> float:
        model.reset_metrics()  # else the loss is the mean over all steps
        return float(model.train_on_batch(tokens, targets))

    return step, {"losses": [step() for _ in range(3)]}


if __name__ == "__main__":
    serve_standard(prepare)
