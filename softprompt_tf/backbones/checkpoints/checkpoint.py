"""A checkpoint that has been opened: its architecture, and every weight by this library's name for it, not read yet.

The names, with i the layer's number, and the shape in which each weight is handed out:

    token_embedding                                       [V, H]
    head                                                  [H, V]   where it is not tied
    {encoder,decoder}.relative_bias                       [buckets, N]
    {encoder,decoder}.norm                                [H]
    {encoder,decoder}.i.self_attention_norm               [H]
    {encoder,decoder}.i.self_attention.{query,key,value}  [H, N * D]
    {encoder,decoder}.i.self_attention.output             [N * D, H]
    decoder.i.cross_attention_norm, decoder.i.cross_attention.{query,key,value,output}
    {encoder,decoder}.i.feed_forward_norm                 [H]
    {encoder,decoder}.i.feed_forward.{input,gate}         [H, F]   the gate where there is one
    {encoder,decoder}.i.feed_forward.output               [F, H]
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from softprompt_tf.backbones.checkpoints.architecture import T5Architecture
from softprompt_tf.errors import BackboneError

_SHOWN_NAMES = 6
_WHOLE = slice(None)
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True)
class StoredTensor:
    """One weight in a file.

    Args:
      name: what the file calls it.
      shape: as it lies in the file.
      read: returns the rows of a slice along the first axis, in the file's dtype.
      is_transposed: whether the file holds [output, input] where this library has [input, output].
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[slice], np.ndarray]
    is_transposed: bool = False

    def array(self) -> np.ndarray:
        """Read the weight, turned as this library has it."""
        read = self.read(_WHOLE)
        return read.T if self.is_transposed else read

    def blocks(self, max_values: int = _BLOCK_VALUES) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Read the weight piece by piece: yield where each block lies, and the block, turned as this library has it."""
        if len(self.shape) < 2:
            yield (_WHOLE,), self.array()
            return
        rows = max(1, max_values // int(np.prod(self.shape[1:])))
        for start in range(0, self.shape[0], rows):
            part = slice(start, min(start + rows, self.shape[0]))
            block = self.read(part)
            yield ((_WHOLE, part), block.T) if self.is_transposed else ((part,), block)


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Args:
      path: where it lies.
      architecture: of the model.
      tensors: every weight of the model by this library's name.
    """

    path: Path
    architecture: T5Architecture
    tensors: Mapping[str, StoredTensor]


def match_names(
    path: Path,
    architecture: T5Architecture,
    names: Mapping[str, tuple[str, bool]],
    stored: Mapping[str, StoredTensor],
    *,
    is_ignored: Callable[[str], bool],
    reason: str = "",
) -> Checkpoint:
    """Give every weight of a model its tensor in the file.

    Args:
      path: for messages.
      architecture: what the model is.
      names: this library's name -> the file's name, and whether the file holds the transpose.
      stored: the file's tensors by the file's names.
      is_ignored: whether a name in the file is known to be no weight of the model, such as an optimizer's slot.
      reason: why the names may not fit, a sentence with a space in front.

    Raises:
      BackboneError: naming what is missing and what was left over, if anything.
    """
    missing = [file_name for file_name, _ in names.values() if file_name not in stored]
    used = {file_name for file_name, _ in names.values()}
    left_over = [name for name in stored if name not in used and not is_ignored(name)]
    if missing or left_over:
        raise BackboneError(
            f"Checkpoint {path} must hold every weight of a T5 and no other. Received: {_listed('missing', missing)}; "
            f"{_listed('left over', left_over)}.{reason}"
        )
    tensors = {
        name: replace(stored[file_name], is_transposed=is_transposed)
        for name, (file_name, is_transposed) in names.items()
    }
    return Checkpoint(path, architecture, tensors)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return f"nothing {what}"
    shown = ", ".join(names[:_SHOWN_NAMES])
    rest = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{len(names)} {what} ({shown}{rest})"
