"""An epoch of real rows on PEFT's side: a DataLoader that pads each batch to its longest row, and a plain loop."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch

IGNORED = -100  # a target position that counts for nothing, in transformers


def epoch(model: peft.PeftModel, case: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    """One epoch; the losses of three steps on rows in their order. A round returns the positions of its batches."""
    found = json.loads(Path(case["token_ids"]).read_text(encoding="utf-8"))
    rows = list(zip(found["inputs"], found["targets"], strict=True))
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=case["rate"])
    generator = torch.Generator().manual_seed(1)
    model.train()

    def step(batch: dict[str, torch.Tensor]) -> float:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def run() -> dict[str, int]:
        settings = {"batch_size": case["rows"], "shuffle": True, "generator": generator}
        if case.get("peer_groups"):
            settings = {"batch_sampler": grouped([len(ids) for ids, _ in rows], case["rows"], generator)}
        positions = 0
        for batch in torch.utils.data.DataLoader(rows, collate_fn=padded, **settings):
            step(batch)
            positions += batch["input_ids"].numel()
        return {"positions": positions}

    size = case["rows"]
    return run, {"values": [step(padded(rows[k * size : (k + 1) * size])) for k in range(3)]}


def padded(rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """Pad a batch to its longest row; ids and mask int64 [B, T], labels int64 [B, U]."""
    inputs, targets = zip(*rows, strict=True)
    ids = _filled(inputs, 0)
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": _filled(targets, IGNORED)}


def grouped(lengths: Sequence[int], size: int, generator: torch.Generator) -> list[list[int]]:
    """Return batches of row numbers: a permutation, cut into chunks of up to 50 batches, each sorted, the longest first.

    Source: huggingface/transformers, `get_length_grouped_indices`.
    """
    chunk = size * max(1, min(len(lengths) // (4 * size), 50))
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chunks = [order[start : start + chunk] for start in range(0, len(order), chunk)]
    order = [row for each in chunks for row in sorted(each, key=lambda row: -lengths[row])]
    return [order[start : start + size] for start in range(0, len(order), size)]


def _filled(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    filled = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for row, ids in zip(filled, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(filled)
