"""Compare one model in one precision with its recorded answers, on JAX.

python -m benchmarks.accelerator.parity_worker MODEL PRECISION OUTPUT.json
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np

import softprompt_tf as sp
from benchmarks.accelerator import on_jax, parity_answers
from benchmarks.accelerator.case_names import MODELS
from benchmarks.accelerator.differences import differences
from benchmarks.accelerator.parity_cases import batch, load
from benchmarks.accelerator.places import REFERENCE, wait_for_model
from benchmarks.accelerator.precisions import PRECISIONS


def compare(name: str, precision: str) -> dict[str, Any]:
    """Return how far the answers are from the recorded ones of float32, and of the model's own dtype."""
    start = time.perf_counter()
    dtype, shape = PRECISIONS[precision].dtype, MODELS[name].shape
    if shape is not None:
        wait_for_model(shape)
    on_jax.set_precision(PRECISIONS[precision])
    model = load(name, dtype)
    with np.load(REFERENCE) as reference:
        recorded = {kind: _recorded(reference, f"{name}/{kind}/") for kind in {"float32", dtype}}
        same_weights = np.allclose(parity_answers.checksum(model), reference[f"{name}/checksum"], rtol=1e-6)
    found = answers(model)
    against = {kind: differences(found, values) for kind, values in recorded.items()}
    same = bool(same_weights) or dtype != "float32"  # the table of a bfloat16 model is rounded
    device = jax.devices()[0].device_kind
    return {"device": device, "same_weights": same, "against": against, "seconds": time.perf_counter() - start}


def answers(model: sp.PromptedT5) -> dict[str, np.ndarray]:
    """Return a model's answers to `batch()`, from two compiled functions."""
    variables = list(model.variables)
    prompt = next(k for k, variable in enumerate(variables) if variable is model.prompt_variable)
    values = [variable.value for variable in variables]
    trained = on_jax.with_values(lambda batch: parity_answers.loss_and_logits(model, batch), variables)

    def of_prompt(value: Any, values: list[Any], batch: dict[str, Any]) -> Any:
        return trained([*values[:prompt], value, *values[prompt + 1 :]], batch)

    tensors = {key: jax.numpy.asarray(value) for key, value in batch().items()}
    gradient_of = jax.jit(jax.value_and_grad(of_prompt, has_aux=True))
    (loss, logits), gradient = gradient_of(values[prompt], values, tensors)
    infer = on_jax.compiled(lambda batch: parity_answers.scores_and_tokens(model, batch), variables)
    return parity_answers.as_answers(loss, logits, gradient, *infer(tensors))


def _recorded(reference: Any, prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): reference[key] for key in reference.files if key.startswith(prefix)}


if __name__ == "__main__":
    found = compare(sys.argv[1], sys.argv[2])
    Path(sys.argv[3]).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
