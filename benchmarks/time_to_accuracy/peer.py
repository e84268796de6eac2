"""One run of PEFT on PyTorch: `python -m benchmarks.time_to_accuracy.peer CASE RESULT STEPS SIDE [RATE]`.

Batches hold rows of like length, as transformers' Trainer makes them with `group_by_length`. Prompt tuning has transformers'
Adafactor with the settings of the paper; LoRA and (IA)^3 have PyTorch's Adam. What these change in a T5 is PEFT's own choice.
"""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from benchmarks.speed.peer_epoch import grouped, padded
from benchmarks.time_to_accuracy.curves import EVALUATIONS, Curve

WARM_UP = 20
TASK_TYPE = "SEQ_2_SEQ_LM"


@dataclass(frozen=True)
class Side:
    """What trains, and how.

    Args:
      config: the length of the first prompt -> PEFT's settings.
      optimizer: makes it of what trains and the highest rate per step.
      rate: that one, unless another is asked for.
      batch_size: rows of a batch.
    """

    config: Callable[[int], peft.PeftConfig]
    optimizer: Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]
    rate: float
    batch_size: int = 32


def _adafactor(trained: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    settings = {"scale_parameter": False, "relative_step": False, "warmup_init": False, "weight_decay": 0.0}
    return transformers.Adafactor(trained, lr=rate, **settings)


def _prompt(length: int) -> peft.PeftConfig:
    return peft.PromptTuningConfig(task_type=TASK_TYPE, num_virtual_tokens=length, num_transformer_submodules=1)


SIDES = {
    "peft": Side(_prompt, _adafactor, rate=1.0),
    "peft_small_batch": Side(_prompt, _adafactor, rate=1.0, batch_size=8),
    "peft_lora": Side(lambda _: peft.LoraConfig(task_type=TASK_TYPE, r=8, lora_alpha=16), torch.optim.Adam, rate=0.003),
    "peft_ia3": Side(lambda _: peft.IA3Config(task_type=TASK_TYPE), torch.optim.Adam, rate=0.3),
}


def main(case: dict[str, Any], result: Path, steps: int, side: Side, rate: float) -> None:
    """Train, and keep the curve."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(case["seed"])
    model = _model(case, side)
    optimizer = side.optimizer([value for value in model.parameters() if value.requires_grad], rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
    rows = list(zip(case["inputs"], case["targets"], strict=True))
    generator = torch.Generator().manual_seed(case["seed"])
    order: list[list[int]] = []
    while len(order) < steps:
        epoch = grouped([len(ids) for ids, _ in rows], side.batch_size, generator)
        epoch = [batch for batch in epoch if len(batch) == side.batch_size]
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


def _model(case: dict[str, Any], side: Side) -> peft.PeftModel:
    """Return the frozen T5 with what trains; a prompt starts from the one of the case."""
    frozen = transformers.AutoModelForSeq2SeqLM.from_pretrained(case["model"], dtype=torch.float32)
    config = side.config(len(case["prompt"]))
    model = peft.get_peft_model(frozen, config)
    if isinstance(config, peft.PromptTuningConfig):
        (prompt,) = (value for value in model.parameters() if value.requires_grad)
        with torch.no_grad():
            prompt.copy_(torch.tensor(case["prompt"]))
    return model


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
    asked = SIDES[sys.argv[4]]
    given_rate = float(sys.argv[5]) if len(sys.argv) > 5 else asked.rate
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    main(given, Path(sys.argv[2]), int(sys.argv[3]), asked, given_rate)
