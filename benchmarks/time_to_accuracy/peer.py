"""One run of PEFT on PyTorch: `python -m benchmarks.time_to_accuracy.peer CASE RESULT STEPS peft`.

Batches hold rows of like length, as transformers' Trainer makes them with `group_by_length`; the optimizer is transformers'
Adafactor with the settings of the paper.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from benchmarks.speed.peer_epoch import grouped, padded
from benchmarks.time_to_accuracy.curves import EVALUATIONS, Curve

WARM_UP = 20


def main(case: dict[str, Any], result: Path, steps: int) -> None:
    """Train, and keep the curve."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(case["seed"])
    model, prompt = _model(case)
    optimizer = transformers.Adafactor(
        [prompt], lr=1.0, scale_parameter=False, relative_step=False, warmup_init=False, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
    rows = list(zip(case["inputs"], case["targets"], strict=True))
    generator = torch.Generator().manual_seed(case["seed"])
    order: list[list[int]] = []
    while len(order) < steps:
        epoch = [batch for batch in grouped([len(ids) for ids, _ in rows], 32, generator) if len(batch) == 32]
        order += [epoch[k] for k in torch.randperm(len(epoch), generator=generator).tolist()]
    curve = Curve(lambda: _accuracy(model, case))
    for step, batch in enumerate(order[:steps], start=1):
        model.train()
        model(**padded([rows[row] for row in batch])).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % (steps // EVALUATIONS) == 0:
            print(step, curve.look(step), flush=True)
    curve.write(result)


def _model(case: dict[str, Any]) -> tuple[peft.PeftModel, torch.nn.Parameter]:
    frozen = transformers.AutoModelForSeq2SeqLM.from_pretrained(case["model"], dtype=torch.float32)
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=len(case["prompt"]), num_transformer_submodules=1
    )
    model = peft.get_peft_model(frozen, config)
    (prompt,) = (value for value in model.parameters() if value.requires_grad)
    with torch.no_grad():
        prompt.copy_(torch.tensor(case["prompt"]))
    return model, prompt


def _factor(step: int, steps: int) -> float:
    if step < WARM_UP:
        return step / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (steps - WARM_UP)))


@torch.inference_mode()
def _accuracy(model: peft.PeftModel, case: dict[str, Any]) -> float:
    """Return the share of dev rows whose likeliest label is theirs, by the log-probability of the whole label."""
    model.eval()
    right = 0
    for start in range(0, len(case["dev_inputs"]), 50):
        chosen = case["dev_inputs"][start : start + 50]
        scores = []
        for label in case["label_ids"]:
            batch = padded([(ids, label) for ids in chosen])
            logits = model(**batch).logits
            picked = torch.log_softmax(logits, -1).gather(-1, batch["labels"][..., None])[..., 0]
            scores.append(picked.sum(-1))
        best = torch.stack(scores, -1).argmax(-1)
        right += int((best == torch.tensor(case["dev_labels"][start : start + 50])).sum())
    return right / len(case["dev_inputs"])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]), int(sys.argv[3]))
