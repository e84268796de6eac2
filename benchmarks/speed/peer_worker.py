"""The worker that runs PEFT on transformers and PyTorch."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import torch
import transformers

from benchmarks.speed import inputs
from benchmarks.speed.peer_epoch import epoch
from benchmarks.speed.protocol import serve_standard

Prepared = tuple[Callable[[], object], dict[str, Any]]


def prepare(case: dict[str, Any]) -> Prepared:
    """Return what one round runs, and what the other side must agree with."""
    torch.set_num_threads(os.cpu_count() or 1)
    frozen = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        case["model"], dtype=getattr(torch, case.get("dtype", "float32"))
    )
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=case["prompt"], num_transformer_submodules=1
    )
    model = peft.get_peft_model(frozen, config)
    parameters = [value for value in model.parameters() if value.requires_grad]
    if [tuple(value.shape) for value in parameters] != [(case["prompt"], frozen.config.d_model)]:
        raise ValueError(f"PEFT must train the prompt alone. Received: {[tuple(v.shape) for v in parameters]}.")
    with torch.no_grad():
        parameters[0].copy_(torch.from_numpy(inputs.prompt(case["prompt"], frozen.config.d_model)))
    return KINDS[case["kind"]](model, case)


def training_step(model: peft.PeftModel, case: dict[str, Any]) -> Prepared:
    """One step of SGD on the prompt; the losses of the first three."""
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=case["rate"])
    ids, mask = _source(case)
    targets = torch.from_numpy(inputs.targets(case["rows"], case["targets"]))
    model.train()
    if case.get("gradient_checkpointing"):
        model.base_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def step() -> float:
        loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step, {"values": [step() for _ in range(case.get("checked_steps", 3))]}


def generate(model: peft.PeftModel, case: dict[str, Any]) -> Prepared:
    """Greedy decoding; the tokens."""
    ids, mask = _source(case)
    model.eval()

    @torch.inference_mode()
    def decode() -> np.ndarray:
        written = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=case["tokens"], do_sample=False, num_beams=1
        )
        return written[:, 1:].numpy()  # without the start id

    return decode, {"ids": decode().tolist()}


def classify(model: peft.PeftModel, case: dict[str, Any]) -> Prepared:
    """Write as many tokens as a label has; the log-probabilities per token of all labels, from a pass of its own."""
    decode, _ = generate(model, case)
    ids, mask = _source(case)
    scores = []
    with torch.inference_mode():
        for label in torch.from_numpy(inputs.labels(case["tokens"])):
            target = label.expand(case["rows"], -1)
            logits = model(input_ids=ids, attention_mask=mask, labels=target.contiguous()).logits
            picked = torch.log_softmax(logits, -1).gather(-1, target[..., None])[..., 0]
            scores.append(picked.sum(-1) / case["tokens"])
    return decode, {"values": torch.stack(scores, -1).reshape(-1).tolist()}


def _source(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(inputs.source(case["rows"], case["length"]))
    return ids, torch.ones_like(ids)


KINDS = {"training_step": training_step, "generate": generate, "classify": classify, "epoch": epoch}

if __name__ == "__main__":
    serve_standard(prepare)
