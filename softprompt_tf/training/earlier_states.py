"""Read states of model tuning and of pretraining from before all runs had one format."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_GROUPS = {"weights": "trainable", "optimizer": "optimizer", "best": "best"}


def in_todays_terms(
    metadata: Mapping[str, str], tensors: dict[str, np.ndarray], *, todays_format: str
) -> tuple[Mapping[str, str], dict[str, np.ndarray]]:
    """Return a state's metadata and tensors as today's format has them; what is no such state stays as it is.

    Args:
      metadata: of a file that names no format.
      tensors: under "weights/<index>", "optimizer/<index>" and "best/<index>".
      todays_format: the name that the result gets.
    """
    if "progress" in metadata:
        progress = json.loads(metadata["progress"])
    elif {"step", "num_tokens"} <= metadata.keys():
        progress = {"step": int(metadata["step"]), "num_tokens": int(metadata["num_tokens"])}
    else:
        return metadata, tensors
    step, history, best_step = progress.pop("step"), progress.pop("history", []), progress.pop("best_step", None)
    renamed = {
        "format": todays_format,
        "step": str(step),
        "seed": "null",
        "config_digest": metadata.get("run_digest", ""),
        "best": json.dumps(_best(history, best_step)),
        "settings": metadata.get("run", "{}"),
        "counts": json.dumps(progress),
    }
    return renamed, {_todays_name(name): value for name, value in tensors.items()}


def _best(history: list[dict[str, Any]], best_step: int | None) -> dict[str, Any]:
    after = [evaluation for evaluation in history if best_step is None or evaluation["step"] > best_step]
    score = next((evaluation["score"] for evaluation in history if evaluation["step"] == best_step), None)
    return {"score": score, "step": best_step, "evaluations_without_gain": len(after), "history": history}


def _todays_name(name: str) -> str:
    group, _, index = name.partition("/")
    return f"{_GROUPS.get(group, group)}.{index}"
