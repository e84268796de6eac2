"""Read states of model tuning and of pretraining from before all runs had one format."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_GROUPS = {"weights": "trainable"}


def in_todays_terms(
    metadata: Mapping[str, str], tensors: dict[str, np.ndarray], *, todays_format: str
) -> tuple[Mapping[str, str], dict[str, np.ndarray]]:
    """Return a file that names no format as today's format has it; what is no earlier state stays as it is."""
    if not {"progress", "num_tokens"} & metadata.keys():
        return metadata, tensors
    pretraining = {name: int(metadata[name]) for name in ("step", "num_tokens") if name in metadata}
    counts: dict[str, Any] = json.loads(metadata.get("progress", "{}")) or pretraining
    step, history, best_step = counts.pop("step"), counts.pop("history", []), counts.pop("best_step", None)
    renamed = {
        "format": todays_format,
        "step": str(step),
        "seed": "null",
        "config_digest": metadata.get("run_digest", ""),
        "best": json.dumps(_best(history, best_step)),
        "settings": metadata.get("run", "{}"),
        "counts": json.dumps(counts),
    }
    split = {tuple(name.split("/")): value for name, value in tensors.items()}  # "weights/0"
    return renamed, {f"{_GROUPS.get(group, group)}.{index}": value for (group, index), value in split.items()}


def _best(history: list[dict[str, Any]], best_step: int | None) -> dict[str, Any]:
    score = next((each["score"] for each in history if each["step"] == best_step), None)
    waited = sum(each["step"] > (best_step or 0) for each in history)
    return {"score": score, "step": best_step, "evaluations_without_gain": waited, "history": history}
