"""The worker that runs softprompt_tf."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.speed import inputs
from benchmarks.speed.our_epoch import epoch
from benchmarks.speed.protocol import VOCABULARY, serve_standard
from softprompt_tf.backbones.passes.cheaper_passes import Encoded
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.inference import decoding
from softprompt_tf.model.prompted_inputs import encode as encode_batch

Prepared = tuple[Callable[[], object], dict[str, Any]]


def prepare(case: dict[str, Any]) -> Prepared:
    """Return what one round runs, and what the other side must agree with."""
    t5 = _t5(case["model"], case.get("dtype", "float32"), case.get("quantization"))
    method = sp.prompt_tuning(case["prompt"], sp.init.from_array(inputs.prompt(case["prompt"], t5.hidden_dim)))
    return KINDS[case["kind"]](sp.PromptedT5(t5, method), case)


def training_step(model: sp.PromptedT5, case: dict[str, Any]) -> Prepared:
    """One step of SGD on the prompt; the losses of the first three."""
    model.compile(
        optimizer=keras.optimizers.SGD(case["rate"]),
        loss=sp.TargetCrossEntropy(z_loss=0.0),
        gradient_checkpointing=case.get("gradient_checkpointing", False),
    )
    ids = inputs.source(case["rows"], case["length"]).astype(np.int32)
    targets = inputs.targets(case["rows"], case["targets"]).astype(np.int32)
    tokens = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": np.ones_like(ids),
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": np.ones_like(targets),
    }

    def step() -> float:
        model.reset_metrics()  # else the loss is the mean over all steps
        return float(model.train_on_batch(tokens, targets))

    return step, {"values": [step() for _ in range(case.get("checked_steps", 3))]}


def generate(model: sp.PromptedT5, case: dict[str, Any]) -> Prepared:
    """Greedy decoding; the tokens."""
    encode = _encoder(model, case)

    @tf.function
    def decode() -> tf.Tensor:
        ids, _ = decoding.decode(model.sampler, model.t5, encode(), case["tokens"])
        return ids

    return lambda: decode().numpy(), {"ids": decode().numpy().tolist()}


def classify(model: sp.PromptedT5, case: dict[str, Any]) -> Prepared:
    """Score all labels; the log-probabilities per token, row by row."""
    encode = _encoder(model, case)
    labels = inputs.labels(case["tokens"])
    targets = tf.constant(np.tile(labels[None], [case["rows"], 1, 1]), tf.int32)

    @tf.function
    def scores() -> tf.Tensor:
        return score_targets(model.t5, targets, *encode())

    values = scores().numpy() / case["tokens"]
    return lambda: scores().numpy(), {"values": values.ravel().tolist()}


def _encoder(model: sp.PromptedT5, case: dict[str, Any]) -> Callable[[], Encoded]:
    ids = tf.constant(inputs.source(case["rows"], case["length"]), tf.int32)
    batch = {
        "encoder_token_ids": tf.Variable(ids),
        "encoder_padding_mask": tf.Variable(tf.ones_like(ids)),
    }  # not folded
    return lambda: encode_batch(model.t5, model.prompt_table, {key: value.read_value() for key, value in batch.items()})


@lru_cache(maxsize=1)
def _t5(model: str, dtype: str, quantization: str | None) -> sp.FrozenT5:
    return sp.load_t5(Path(model), vocabulary=VOCABULARY, dtype=dtype, quantization=quantization)


KINDS = {"training_step": training_step, "generate": generate, "classify": classify, "epoch": epoch}

if __name__ == "__main__":
    serve_standard(prepare)
