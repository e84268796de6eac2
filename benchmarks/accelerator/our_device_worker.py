"""The worker that runs softprompt_tf on Keras's JAX backend."""

import gc
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.accelerator import on_jax
from benchmarks.accelerator.places import wait_for_model
from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.accelerator.rounds import steps_of_a_round
from benchmarks.speed import inputs
from benchmarks.speed.protocol import VOCABULARY, serve_standard
from softprompt_tf.inference.decoding import decode as decode_rows
from softprompt_tf.model.prompted_inputs import encode

Prepared = tuple[Callable[[], dict[str, Any]], dict[str, Any]]


def prepare(case: dict[str, Any]) -> Prepared:
    """Return what one round runs, and what the other side must agree with."""
    gc.collect()
    precision = PRECISIONS[case["precision"]]
    on_jax.set_precision(precision)
    if case["kind"] == "matrix":
        return matrix(case)
    before = on_jax.peak_bytes()
    t5 = _t5(case["shape"], precision.dtype)
    method = sp.prompt_tuning(case["prompt"], sp.init.from_array(inputs.prompt(case["prompt"], t5.hidden_dim)))
    run, checks = KINDS[case["kind"]](sp.PromptedT5(t5, method), case)

    def measured() -> dict[str, Any]:
        steps, peak = run(), on_jax.peak_bytes()
        # The peak of a process never falls: only one that has risen is this case's own.
        return {"steps": steps, "peak_bytes": peak if peak is not None and peak > (before or 0) else None}

    return measured, {**checks, "device": jax.devices()[0].device_kind}


def training_step(model: sp.PromptedT5, case: dict[str, Any]) -> tuple[Callable[[], int], dict[str, Any]]:
    """Steps of SGD on the prompt in one call of `fit`; the losses of the first three."""
    loss = sp.TargetCrossEntropy(z_loss=0.0)
    model.compile(optimizer=keras.optimizers.SGD(case["rate"]), loss=loss, jit_compile=True)
    checked = [on_jax.timed(lambda: _fit(model, case, steps=1)) for _ in range(3)]
    losses, seconds = zip(*checked, strict=True)
    _, few = on_jax.timed(lambda: _fit(model, case, steps=4))
    steps = steps_of_a_round(few / 4, case)

    def run() -> int:
        _fit(model, case, steps=steps)
        return steps

    return run, {"values": losses, "compile_s": seconds[0] - seconds[-1], "steps": steps}


def _fit(model: sp.PromptedT5, case: dict[str, Any], *, steps: int) -> float:
    """Train on the same batch so many times, until the prompt is computed; return the mean loss."""
    x, y = _batch(case)
    x, y = {key: np.tile(value, (steps, 1)) for key, value in x.items()}, np.tile(y, (steps, 1))
    history = model.fit(x, y, batch_size=case["rows"], epochs=1, shuffle=False, verbose=0).history
    jax.block_until_ready(model.prompt_variable.value)
    return float(history["loss"][0])


def generate(model: sp.PromptedT5, case: dict[str, Any]) -> tuple[Callable[[], int], dict[str, Any]]:
    """Greedy decoding; the tokens."""
    x, _ = _batch(case)
    batch = {key: jax.numpy.asarray(value) for key, value in x.items()}

    def written(batch: dict[str, Any]) -> Any:
        ids, _ = decode_rows(sp.Greedy(), model.t5, encode(model.t5, model.prompt_table, batch), case["tokens"])
        return ids

    decode = on_jax.compiled(written, list(model.variables))
    (ids, first), (_, second) = on_jax.timed(lambda: decode(batch)), on_jax.timed(lambda: decode(batch))
    steps = steps_of_a_round(second, case)

    def run() -> int:
        for _ in range(steps):
            jax.block_until_ready(decode(batch))  # an answer is handed out before the next is asked for
        return steps

    return run, {"ids": np.asarray(ids).tolist(), "compile_s": first - second, "steps": steps}


def matrix(case: dict[str, Any]) -> Prepared:
    """Products of two square matrices in the precision of the case."""
    size, dtype = case["size"], PRECISIONS[case["precision"]].dtype
    keys = jax.random.split(jax.random.key(0), 2)
    a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
    product = jax.jit(jax.numpy.matmul)
    on_jax.timed(lambda: product(a, b))
    steps = steps_of_a_round(on_jax.timed(lambda: product(a, b))[1], case)

    def run() -> dict[str, Any]:
        for _ in range(steps):
            found = product(a, b)
        jax.block_until_ready(found)
        return {"steps": steps}

    return run, {"flops": 2.0 * size**3, "steps": steps}


def _batch(case: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    ids = inputs.source(case["rows"], case["length"]).astype(np.int32)
    targets = inputs.targets(case["rows"], case["targets"]).astype(np.int32)
    tokens = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": np.ones_like(ids),
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": np.ones_like(targets),
    }
    return tokens, targets


@lru_cache(maxsize=1)
def _t5(shape: str, dtype: str) -> sp.FrozenT5:
    return sp.load_t5(wait_for_model(shape), vocabulary=VOCABULARY, dtype=dtype)


KINDS = {"training_step": training_step, "generate": generate}

if __name__ == "__main__":
    serve_standard(prepare)
