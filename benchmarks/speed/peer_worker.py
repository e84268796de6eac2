"""The worker that runs PEFT on transformers and PyTorch."""

import os
from collections.abc import Callable
from typing import Any

import peft
import torch
import transformers

from benchmarks.speed import inputs
from benchmarks.speed.protocol import serve_standard


def prepare(case: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    """Return one training step, and the losses of the first steps."""
    torch.set_num_threads(os.cpu_count() or 1)
    frozen = transformers.AutoModelForSeq2SeqLM.from_pretrained(case["model"], dtype=torch.float32)
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=case["prompt"], num_transformer_submodules=1
    )
    model = peft.get_peft_model(frozen, config)
    parameters = [value for value in model.parameters() if value.requires_grad]
    if [tuple(value.shape) for value in parameters] != [(case["prompt"], inputs.HIDDEN)]:
        raise ValueError(f"PEFT must train the prompt alone. Received: {[tuple(v.shape) for v in parameters]}.")
    with torch.no_grad():
        parameters[0].copy_(torch.from_numpy(inputs.prompt(case["prompt"])))
    optimizer = torch.optim.SGD(parameters, lr=case["rate"])
    ids, targets = map(torch.from_numpy, inputs.batch(case["rows"], case["length"], case["targets"]))
    mask = torch.ones_like(ids)
    model.train()

    def step() -> float:
        loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step, {"losses": [step() for _ in range(3)]}


if __name__ == "__main__":
    serve_standard(prepare)
