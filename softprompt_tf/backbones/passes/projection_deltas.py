"""Frozen projections to which each row of a batch adds a low-rank product of its own.

Source: Hu et al. 2021, arXiv:2106.09685 (LoRA).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keras import ops

from softprompt_tf.backbones.passes.frozen_blocks import SelfAttention
from softprompt_tf.injection import ProjectionDelta
from softprompt_tf.typing import Tensor

Changes = Mapping[str, Tensor]
"""Names of projections -> what is added to them in one layer, [B, R, F_in + F_out]."""


class ChangedProjection(NamedTuple):
    """A projection [F_in] to [F_out] with what is added to it. Automatic differentiation runs through it.

    Args:
      base: the frozen projection.
      rows: [B, R, F_in + F_out], in its dtype.
    """

    base: Any
    rows: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Project states [M, F_in] to [M, F_out], M = B * positions, the positions of a row behind each other."""
        batch, width = ops.shape(self.rows)[0], states.shape[-1]
        down, up = self.rows[..., :width], self.rows[..., width:]
        by_row = ops.reshape(states, (batch, -1, width))
        inner = ops.matmul(by_row, ops.transpose(down, (0, 2, 1)))  # [B, S, R]
        return self.base(states) + ops.reshape(ops.matmul(inner, up), (-1, up.shape[-1]))


def with_changes(block: SelfAttention, changes: Changes) -> SelfAttention:
    """Return an attention block with what is added to some of its projections."""
    parts = {name: ChangedProjection(getattr(block, name), rows) for name, rows in changes.items()}
    return block._replace(**parts)  # type: ignore[arg-type]


def changes_by_layer(
    parts: Sequence[ProjectionDelta], place: str, num_layers: int, dtype: str
) -> list[dict[str, Tensor]]:
    """Return, for each layer, what is added to the projections of one attention."""
    rows = {part.projection: ops.cast(part.rows, dtype) for part in parts if part.place == place}
    return [{name: value[:, :, layer] for name, value in rows.items()} for layer in range(num_layers)]
