"""Record what the models answer on the CPU under TensorFlow, for the comparison on another machine.

python -m benchmarks.accelerator.record REFERENCE.npz MODEL [MODEL ...]
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.accelerator import parity_answers
from benchmarks.accelerator.case_names import MODELS
from benchmarks.accelerator.parity_cases import batch, load
from benchmarks.accelerator.places import written_model

DTYPES = ("float32", "bfloat16")


def record(path: Path, models: list[str]) -> None:
    """Write one file with the answers of all models, under the names MODEL/DTYPE/ANSWER."""
    found: dict[str, np.ndarray] = {"versions": np.array(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")}
    for name in models:
        shape = MODELS[name].shape
        if shape is not None:
            written_model(shape)
        for dtype in DTYPES:
            model = load(name, dtype)
            found |= {f"{name}/{dtype}/{key}": value for key, value in answers(model).items()}
            if dtype == "float32":
                found[f"{name}/checksum"] = parity_answers.checksum(model)
            print(f"{name}, {dtype}: loss {found[f'{name}/{dtype}/loss']:.4f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **found)


def answers(model: sp.PromptedT5) -> dict[str, np.ndarray]:
    """Return a model's answers to `batch()`."""
    tensors = {key: tf.constant(value) for key, value in batch().items()}

    @tf.function
    def trained() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, logits = parity_answers.loss_and_logits(model, tensors)
        return loss, logits, tape.gradient(loss, model.prompt_variable.value)

    scores_and_tokens = tf.function(lambda: parity_answers.scores_and_tokens(model, tensors))
    return parity_answers.as_answers(*trained(), *scores_and_tokens())


if __name__ == "__main__":
    record(Path(sys.argv[1]), sys.argv[2:])
