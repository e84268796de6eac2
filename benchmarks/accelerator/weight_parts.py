"""A backbone's weights in files of less than 16 MB, float16, as an accelerator sends them back."""

from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 15_000_000


def write_parts(weights: list[np.ndarray], directory: Path, *, metadata: dict[str, str]) -> list[Path]:
    """Write weights, in the order of `backbone.weights`, to `weights_0.safetensors` and on; each file is replaced in one move.

    Raises:
      ValueError: if a weight is larger than a file may be, or does not fit float16.
    """
    import safetensors.numpy

    parts: list[dict[str, np.ndarray]] = [{}]
    room = MAX_BYTES
    for number, weight in enumerate(weights):
        with np.errstate(over="ignore"):  # reported below
            stored = weight.astype(np.float16)
        if stored.nbytes > MAX_BYTES or not np.isfinite(stored).all():
            raise ValueError(
                f"Weight {number} must be finite in float16 and below {MAX_BYTES} bytes. Received: {stored.nbytes}."
            )
        if stored.nbytes > room:
            parts.append({})
            room = MAX_BYTES
        parts[-1][str(number)] = stored
        room -= stored.nbytes
    paths = []
    for number, part in enumerate(parts):
        path = directory / f"weights_{number}.safetensors"
        unfinished = path.with_suffix(".writing")
        unfinished.write_bytes(safetensors.numpy.save(part, metadata=metadata))
        paths.append(unfinished.replace(path))
    return paths


def read_parts(directory: Path) -> tuple[list[np.ndarray], dict[str, str]]:
    """Return the weights, and the metadata of the parts.

    Raises:
      ValueError: if there are none, one is missing, or they are of different moments.
    """
    import safetensors

    weights: dict[int, np.ndarray] = {}
    metadata: list[Any] = []
    for path in sorted(directory.glob("weights_*.safetensors")):
        with safetensors.safe_open(path, "np") as part:
            metadata.append(part.metadata())
            weights.update({int(name): part.get_tensor(name) for name in part.keys()})  # noqa: SIM118
    if not weights or sorted(weights) != list(range(len(weights))) or any(each != metadata[0] for each in metadata):
        raise ValueError(
            f"The parts of one state must lie in {directory}. Received: {len(metadata)} files, {metadata}."
        )
    return [weights[number] for number in range(len(weights))], metadata[0]
