"""What a model answers on any Keras backend: functions of tensors that read the model's variables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

import softprompt_tf as sp
from benchmarks.accelerator.parity_cases import GENERATED
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.inference.decoding import decode
from softprompt_tf.model.prompted_inputs import encode

Tensor = Any
INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
KEPT_LOGITS = (slice(None, 2), slice(None, None, 3))  # rows and positions: all of them would be too much to carry


def loss_and_logits(model: sp.PromptedT5, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean loss of a target token, and the logits [B, U, V], as training computes them."""
    logits = model({key: batch[key] for key in INPUTS}, training=True)
    return sp.TargetCrossEntropy(z_loss=1e-4)(batch["targets"], logits), logits


def scores_and_tokens(model: sp.PromptedT5, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the labels [B, C], and greedy tokens [B, U], as inference computes them."""
    encoded = encode(model.t5, model.prompt_table, batch)
    scores = score_targets(model.t5, batch["labels"], *encoded)
    tokens, _ = decode(sp.Greedy(), model.t5, encoded, GENERATED)
    return scores, tokens


def as_answers(loss: Tensor, logits: Tensor, gradient: Tensor, scores: Tensor, tokens: Tensor) -> dict[str, np.ndarray]:
    """Return what is kept of the answers, as arrays."""
    kept = ops.convert_to_numpy(logits)[KEPT_LOGITS].astype(np.float32)
    floats = {"loss": loss, "gradient": gradient, "scores": scores}
    named = {key: np.asarray(ops.convert_to_numpy(value), np.float32) for key, value in floats.items()}
    return {**named, "logits": kept, "tokens": np.asarray(ops.convert_to_numpy(tokens), np.int32)}


def checksum(model: sp.PromptedT5) -> np.ndarray:
    """Return two numbers that tell whether both machines have the same weights."""
    table = np.asarray(model.t5.embedding_table, np.float64)
    return np.array([table.sum(), np.square(table).sum()])
