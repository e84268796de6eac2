"""In a served graph: spare the rows of a batch the work for tensors that none of their tasks has."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import tensorflow as tf

Run = Callable[[Sequence[str], Sequence[tf.Tensor]], Any]
"""Names of tensors, rows and mask of each, one behind the other -> tensors of the same kinds, whatever the names."""


def without_absent(run: Run, names: Sequence[str], parts: Sequence[tf.Tensor], *, among: Collection[str]) -> Any:
    """Run with all tensors, or, in a batch without any of some, as a graph that has no tables of these.

    What goes into layers costs each of them some operations, even if all is masked: in a small model as much as the layer itself.

    Args:
      run: what to run; it is traced twice.
      names: of the graph's tensors.
      parts: rows [B, P, ...] and mask int32 [B, P] of each name, one behind the other.
      among: the names of those whose absence spares work.
    """
    masks = [mask for name, mask in zip(names, parts[1::2], strict=True) if name in among]
    if not masks:
        return run(names, parts)
    others = [k for k, name in enumerate(names) if name not in among]
    return tf.cond(
        tf.reduce_any(tf.concat([tf.reshape(mask, [-1]) for mask in masks], axis=0) > 0),
        lambda: run(names, parts),
        lambda: run([names[k] for k in others], [part for k in others for part in parts[2 * k : 2 * k + 2]]),
    )
