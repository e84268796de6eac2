"""The worker that runs PEFT on transformers and PyTorch, on the GPU where there is one."""

import gc
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import peft
import torch
import transformers

from benchmarks.accelerator.places import wait_for_model
from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.accelerator.rounds import steps_of_a_round
from benchmarks.speed import inputs
from benchmarks.speed.protocol import serve_standard

Prepared = tuple[Callable[[], dict[str, Any]], dict[str, Any]]
VERSIONS = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def prepare(case: dict[str, Any]) -> Prepared:
    """Return what one round runs, and what the other side must agree with."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    precision = PRECISIONS[case["precision"]]
    torch.set_float32_matmul_precision(precision.torch)
    if case["kind"] == "matrix":
        return matrix(case)
    frozen = _frozen(case["shape"], precision.dtype)
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=case["prompt"], num_transformer_submodules=1
    )
    model = peft.get_peft_model(frozen, config).to(DEVICE)
    prompt = _prompt(model)
    if tuple(prompt.shape) != (case["prompt"], frozen.config.d_model):
        raise ValueError(f"PEFT must train the prompt alone. Received: {tuple(prompt.shape)}.")
    with torch.no_grad():
        prompt.copy_(torch.from_numpy(inputs.prompt(case["prompt"], frozen.config.d_model)))
    run, checks = KINDS[case["kind"]](model, case)

    def measured() -> dict[str, Any]:
        steps = run()
        return {"steps": steps, "peak_bytes": torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None}

    attention = getattr(frozen.config, "_attn_implementation", None)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    about = {"device": device, "versions": VERSIONS, "attention": attention, "prompt_dtype": str(prompt.dtype)}
    return measured, {**checks, **about}


def training_step(model: peft.PeftModel, case: dict[str, Any]) -> tuple[Callable[[], int], dict[str, Any]]:
    """Steps of SGD on the prompt; the losses of the first three."""
    optimizer = torch.optim.SGD([_prompt(model)], lr=case["rate"])
    ids, mask = _source(case)
    targets = torch.from_numpy(inputs.targets(case["rows"], case["targets"])).to(DEVICE)
    model.train()

    def step() -> torch.Tensor:
        loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    losses = [_timed(step) for _ in range(3)]
    steps = steps_of_a_round(min(seconds for _, seconds in losses[1:]), case)

    def run() -> int:
        for _ in range(steps):
            step()
        _wait()
        return steps

    return run, {"values": [float(loss) for loss, _ in losses], "steps": steps}


def generate(model: peft.PeftModel, case: dict[str, Any]) -> tuple[Callable[[], int], dict[str, Any]]:
    """Greedy decoding; the tokens."""
    ids, mask = _source(case)
    model.eval()

    @torch.inference_mode()
    def decode() -> torch.Tensor:
        return model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=case["tokens"], do_sample=False, num_beams=1
        )

    (written, _), (_, seconds) = _timed(decode), _timed(decode)
    steps = steps_of_a_round(seconds, case)

    def run() -> int:
        for _ in range(steps):
            decode()
            _wait()
        return steps

    return run, {"ids": _padded(written[:, 1:].cpu().numpy(), case["tokens"]), "steps": steps}


def matrix(case: dict[str, Any]) -> Prepared:
    """Products of two square matrices in the precision of the case."""
    size, dtype = case["size"], getattr(torch, PRECISIONS[case["precision"]].dtype)
    a, b = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))
    _timed(lambda: a @ b)
    steps = steps_of_a_round(_timed(lambda: a @ b)[1], case)

    def run() -> dict[str, Any]:
        for _ in range(steps):
            a @ b
        _wait()
        return {"steps": steps}

    return run, {"flops": 2.0 * size**3, "steps": steps}


def _timed(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    _wait()
    start = time.perf_counter()
    found = run()
    _wait()
    return found, time.perf_counter() - start


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _source(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(inputs.source(case["rows"], case["length"])).to(DEVICE)
    return ids, torch.ones_like(ids)


def _padded(ids: np.ndarray, length: int) -> list[list[int]]:
    return np.pad(ids, [(0, 0), (0, length - ids.shape[1])]).tolist()


def _prompt(model: peft.PeftModel) -> torch.nn.Parameter:
    trained = [value for value in model.parameters() if value.requires_grad]
    if len(trained) != 1:
        raise ValueError(f"PEFT must train one tensor. Received: {[tuple(value.shape) for value in trained]}.")
    return trained[0]


@lru_cache(maxsize=1)
def _frozen(shape: str, dtype: str) -> transformers.PreTrainedModel:
    directory = wait_for_model(shape)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=getattr(torch, dtype))
    return model.to(DEVICE)


KINDS = {"training_step": training_step, "generate": generate}

if __name__ == "__main__":
    serve_standard(prepare)
