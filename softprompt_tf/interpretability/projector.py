"""Write the files of TensorBoard's projector: prompts and their nearest pieces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.local_paths import local_target

COLUMNS = ("label", "kind", "prompt", "row")


def write_projector(
    directory: Path,
    prompts: Sequence[tuple[str, np.ndarray]],
    ids: Sequence[np.ndarray],
    *,
    embeddings: np.ndarray,
    pieces: Sequence[str],
) -> Path:
    """Write tensors.tsv, metadata.tsv and projector_config.pbtxt; `tensorboard --logdir DIRECTORY` shows them.

    Args:
      directory: made if it is missing.
      prompts: (name, [P, H]) of each prompt.
      ids: of each prompt its neighbours' token ids [P, k]; a piece that is near to several vectors is written once.
      embeddings: [V, H].
      pieces: the text of each token id.

    Returns:
      The path of projector_config.pbtxt.

    Raises:
      ConfigError: if tensorboard is not installed.
      DataError: if a file cannot be written.
    """
    try:
        from google.protobuf import text_format
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    except ImportError as error:
        raise ConfigError("Projector files need tensorboard: pip install 'softprompt-tf[report]'.") from error
    vectors = [np.asarray(row, np.float32) for _, prompt in prompts for row in prompt]
    metadata = [(f"{name}[{row}]", "prompt", name, str(row)) for name, prompt in prompts for row in range(len(prompt))]
    for token_id in sorted({int(i) for prompt_ids in ids for i in np.ravel(prompt_ids)}):
        vectors.append(np.asarray(embeddings[token_id], np.float32))
        metadata.append((pieces[token_id], "piece", "", ""))

    config = ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "prompts and their nearest pieces"
    embedding.tensor_shape.extend([len(vectors), len(vectors[0])])
    embedding.tensor_path, embedding.metadata_path = "tensors.tsv", "metadata.tsv"
    _write(directory / "tensors.tsv", ["\t".join(f"{value:.9g}" for value in vector) for vector in vectors])
    _write(directory / "metadata.tsv", ["\t".join(map(_cell, cells)) for cells in (COLUMNS, *metadata)])
    return _write(directory / "projector_config.pbtxt", [text_format.MessageToString(config).rstrip("\n")])


def _cell(text: str) -> str:
    """Keep a text to one cell: a tab or a line's end would break the table, and an empty label shows as nothing."""
    return " ".join(text.split()) if text.strip() else text.strip()


def _write(path: Path, lines: Sequence[str]) -> Path:
    path = local_target(path, error_type=DataError)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be made: {error.strerror}.") from error
    return write_atomically(path, "".join(f"{line}\n" for line in lines).encode(), error_type=DataError)
