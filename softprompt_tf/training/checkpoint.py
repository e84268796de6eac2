"""The state of a run enters; a small file on disk leaves, and the other way round.

A checkpoint holds what a run needs to go on as if it had never stopped: the trainable variables (the prompt), the
optimizer's slots and counter, the states of the random generators, how many batches were taken, and the best prompt so
far. The frozen T5 is not in it. It is one safetensors file, written to a temporary name, synced and renamed.
"""

import dataclasses
import json
import os
import pathlib
import warnings
import zlib

import numpy as np
import safetensors
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation
from softprompt_tf.version import __version__

FORMAT = "softprompt-tf-checkpoint/1"
_BEST = "best."


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One moment of a run.

    Attributes:
      step: batches taken so far; the next one is batch number `step`, counted from 0.
      seed: the run's seed, of which every batch is a function.
      config_digest: the run's config in short, "" if it has none.
      tensors: "<group>.<index>" to value, where the group is trainable, optimizer or random.
      best: the evaluations and the best prompt so far.
    """

    step: int
    seed: int
    config_digest: str
    tensors: dict[str, np.ndarray]
    best: BestSoFar


def write_checkpoint(directory: str | os.PathLike[str], checkpoint: Checkpoint, *, keep: int = 2) -> pathlib.Path:
    """Write one checkpoint and delete all but the newest `keep` of them.

    Returns:
      The new file, "step-<8 digits>.safetensors".

    Raises:
      TrainingError: if the file cannot be written; no older one is deleted then.
    """
    directory = pathlib.Path(directory)
    best = {f"{_BEST}{index}": weights for index, weights in enumerate(checkpoint.best.weights)}
    tensors = {name: np.asarray(value, order="C") for name, value in {**checkpoint.tensors, **best}.items()}
    path = directory / f"step-{checkpoint.step:08d}.safetensors"
    write_atomically(path, safetensors.numpy.save(tensors, _metadata(checkpoint, tensors)), error_type=TrainingError)
    for old in _newest_first(directory)[keep:]:
        old.unlink(missing_ok=True)
    for unfinished in directory.glob(".step-*.tmp"):  # of a process that was killed while it wrote
        unfinished.unlink(missing_ok=True)
    return path


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read one checkpoint.

    Raises:
      TrainingError: if the file is truncated, altered or of another kind.
    """
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"A checkpoint must be a whole safetensors file. Received: {path} ({error}).") from error
    if metadata.get("format") != FORMAT:
        raise TrainingError(f"A checkpoint must have the format {FORMAT}. Received: {path} ({metadata.get('format')}).")
    if metadata.get("crc32") != _crc32(tensors):
        raise TrainingError(f"A checkpoint's values must match its checksum. Received: {path}, which was altered.")
    return Checkpoint(
        step=int(metadata["step"]),
        seed=int(metadata["seed"]),
        config_digest=metadata["config_digest"],
        tensors={name: value for name, value in tensors.items() if not name.startswith(_BEST)},
        best=_best_from_json(metadata["best"], tensors),
    )


def latest_checkpoint(directory: str | os.PathLike[str]) -> Checkpoint | None:
    """Return the newest whole checkpoint of a folder, or None if the folder has none at all.

    Warns:
      UserWarning: for each damaged file that is passed over.

    Raises:
      TrainingError: if there are checkpoints but none can be read; to start anew is for the user to decide.
    """
    paths = _newest_first(pathlib.Path(directory))
    for path in paths:
        try:
            return read_checkpoint(path)
        except TrainingError as error:
            warnings.warn(f"Passing over a checkpoint: {error}", stacklevel=2)
    if paths:
        raise TrainingError(
            f"At least one checkpoint must be whole. Received: {directory} with {len(paths)} damaged ones. "
            "Delete the folder to start anew."
        )
    return None


def check_same_run(checkpoint: Checkpoint, *, seed: int, config_digest: str) -> None:
    """Refuse a checkpoint of a run with other settings.

    Raises:
      TrainingError: if the seed or the config differs.
    """
    hint = "Take back the change, or choose another output directory to start a new run."
    if checkpoint.seed != seed:
        raise TrainingError(
            f"A run goes on with the seed it began with, {checkpoint.seed}. Received: seed={seed}. {hint}"
        )
    if checkpoint.config_digest != config_digest:
        raise TrainingError(
            f"A run goes on with the config it began with (digest {checkpoint.config_digest!r}). "
            f"Received: a config of digest {config_digest!r}. {hint}"
        )


def _metadata(checkpoint: Checkpoint, tensors: dict[str, np.ndarray]) -> dict[str, str]:
    best = dataclasses.asdict(dataclasses.replace(checkpoint.best, weights=()))
    return {
        "format": FORMAT,
        "library_version": __version__,
        "step": str(checkpoint.step),
        "seed": str(checkpoint.seed),
        "config_digest": checkpoint.config_digest,
        "best": json.dumps(best),
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


def _newest_first(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(directory.glob("step-*.safetensors"), reverse=True)
