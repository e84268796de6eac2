"""The file format of every run's state: of a trained prompt, of tuned weights and of pretraining.

A checkpoint holds what a run needs to go on as if it had never stopped: the trained variables, the optimizer's slots and
counter, the states of the random generators, how many batches were taken, the best weights so far, and what the run counts.
A frozen T5 is not in it. It is one safetensors file, written to a temporary name, synced and renamed.
"""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.settings.setting_changes import setting_changes
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation
from softprompt_tf.training.earlier_states import in_todays_terms
from softprompt_tf.version import __version__

FORMAT = "softprompt-tf-checkpoint/1"
_BEST = "best."
_HINT = "Take back the change, or choose another output directory to start a new run."


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One moment of a run.

    Attributes:
      step: batches taken so far; the next one is batch number `step`, counted from 0.
      seed: the run's seed, of which every batch is a function; None in files that do not have it.
      config_digest: the run's config in short, "" if it has none.
      tensors: "<group>.<index>" to value, where the group is trainable, optimizer or random.
      best: the evaluations and the best weights so far.
      settings: what decides the run's outcome, JSON values; {} if the digest alone says it.
      counts: what the run counts, JSON values, such as the tokens seen.
      path: the file that it was read from.
    """

    step: int
    seed: int | None
    config_digest: str
    tensors: dict[str, np.ndarray]
    best: BestSoFar
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    path: pathlib.Path | None = None


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> pathlib.Path:
    """Write one checkpoint, which replaces what stood at `path` in one move; return the path.

    Raises:
      TrainingError: if the file cannot be written; what stood there is kept.
    """
    best = {f"{_BEST}{index}": weights for index, weights in enumerate(checkpoint.best.weights)}
    tensors = {name: np.asarray(value, order="C") for name, value in {**checkpoint.tensors, **best}.items()}
    content = safetensors.numpy.save(tensors, _metadata(checkpoint, tensors))
    return write_atomically(pathlib.Path(path), content, error_type=TrainingError)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read one checkpoint, also one of the formats from before all runs had the same one.

    Raises:
      TrainingError: if the file is truncated, altered or of another kind.
    """
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"A checkpoint must be a whole safetensors file. Received: {path} ({error}).") from error
    try:
        return _checkpoint_of(path, metadata, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # of metadata that the checksum does not cover
        raise TrainingError(
            f"A checkpoint's metadata must be as it was written. Received: {path}, which was altered ({error!r})."
        ) from error


def _checkpoint_of(
    path: str | os.PathLike[str], metadata: Mapping[str, str], tensors: dict[str, np.ndarray]
) -> Checkpoint:
    if metadata.get("format") == FORMAT and metadata.get("crc32") != _crc32(tensors):
        raise TrainingError(f"A checkpoint's values must match its checksum. Received: {path}, which was altered.")
    if "format" not in metadata:
        metadata, tensors = in_todays_terms(metadata, tensors, todays_format=FORMAT)
    if metadata.get("format") != FORMAT:
        raise TrainingError(f"A checkpoint must have the format {FORMAT}. Received: {path} ({metadata.get('format')}).")
    return Checkpoint(
        step=int(metadata["step"]),
        seed=json.loads(metadata["seed"]),
        config_digest=metadata["config_digest"],
        tensors={name: value for name, value in tensors.items() if not name.startswith(_BEST)},
        best=_best_from_json(metadata["best"], tensors),
        settings=json.loads(metadata.get("settings", "{}")),
        counts=json.loads(metadata.get("counts", "{}")),
        path=pathlib.Path(path),
    )


def check_same_run(
    checkpoint: Checkpoint, *, seed: int | None, config_digest: str, settings: Mapping[str, Any] | None = None
) -> None:
    """Refuse a checkpoint of a run with other settings.

    Raises:
      TrainingError: if the seed, the config or the settings differ.
    """
    changes = (
        setting_changes(checkpoint.settings, json.loads(json.dumps(settings or {}))) if checkpoint.settings else []
    )
    if changes:
        raise TrainingError(
            "A run goes on with the settings and the data it began with. Received: other settings or data: "
            f"{'; '.join(changes)}. {_HINT}"
        )
    if checkpoint.seed is not None and checkpoint.seed != seed:
        raise TrainingError(
            f"A run goes on with the seed it began with, {checkpoint.seed}. Received: seed={seed}. {_HINT}"
        )
    if checkpoint.config_digest != config_digest:
        raise TrainingError(
            "A checkpoint must be of the same run. "
            f"A run goes on with the config it began with (digest {checkpoint.config_digest!r}). "
            f"Received: a config of digest {config_digest!r}, that of a run with other settings. {_HINT}"
        )


def _metadata(checkpoint: Checkpoint, tensors: dict[str, np.ndarray]) -> dict[str, str]:
    best = dataclasses.asdict(dataclasses.replace(checkpoint.best, weights=()))
    return {
        "format": FORMAT,
        "library_version": __version__,
        "step": str(checkpoint.step),
        "seed": json.dumps(checkpoint.seed),
        "config_digest": checkpoint.config_digest,
        "best": json.dumps(best),
        "settings": json.dumps(checkpoint.settings),
        "counts": json.dumps(checkpoint.counts),
        "crc32": _crc32(tensors),
    }


def _best_from_json(text: str, tensors: dict[str, np.ndarray]) -> BestSoFar:
    fields = json.loads(text)
    count = sum(name.startswith(_BEST) for name in tensors)
    fields["weights"] = tuple(tensors[f"{_BEST}{index}"] for index in range(count))
    fields["history"] = tuple(Evaluation(**evaluation) for evaluation in fields["history"])
    return BestSoFar(**fields)


def _crc32(tensors: dict[str, np.ndarray]) -> str:
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].tobytes(), checksum)
    return f"{checksum:08x}"
