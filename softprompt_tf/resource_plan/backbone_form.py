"""The form of a T5: all that decides how many weights it has and what a pass through it costs. Nothing is loaded for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from softprompt_tf.backbone_sizes import BackboneSizes

GATED, PLAIN, RELU = "gated", "plain", "relu"
_BUCKETS = 32


@dataclass(frozen=True, kw_only=True)
class BackboneForm:
    """Sizes and forms of one T5.

    Args:
      sizes: width, layers, heads and feed-forward width.
      vocabulary_size: V, rows of the embedding table.
      feed_forward: "gated" (T5 1.1), "relu" (T5 1.0) or "plain" (another activation without a gate).
      has_tied_head: whether the head is the embedding table.
      relative_buckets: rows of the tables of position biases.
    """

    sizes: BackboneSizes
    vocabulary_size: int
    feed_forward: str = GATED
    has_tied_head: bool = False
    relative_buckets: int = _BUCKETS

    @property
    def inner_dim(self) -> int:
        """N * D, the width of all heads."""
        return self.sizes.num_heads * self.sizes.head_dim

    @property
    def num_layers(self) -> int:
        """Layers of both stacks."""
        return self.sizes.encoder_layers + self.sizes.decoder_layers

    @property
    def feed_forward_kernels(self) -> int:
        """Kernels of a feed-forward block."""
        return 3 if self.feed_forward == GATED else 2

    @property
    def table_values(self) -> int:
        """V * H, the values of the embedding table."""
        return self.vocabulary_size * self.sizes.hidden_dim

    @property
    def kernels(self) -> tuple[tuple[int, int, int], ...]:
        """Rows, columns and number of all projections: four for each attention, two or three for each feed-forward."""
        hidden, wide, inner = self.sizes.hidden_dim, self.sizes.feed_forward_dim, self.inner_dim
        attentions = self.sizes.encoder_layers + 2 * self.sizes.decoder_layers
        into_feed_forward = (self.feed_forward_kernels - 1) * self.num_layers
        return (
            (hidden, inner, 3 * attentions),
            (inner, hidden, attentions),
            (hidden, wide, into_feed_forward),
            (wide, hidden, self.num_layers),
        )

    @property
    def kernel_values(self) -> int:
        """Values of all projections."""
        return sum(rows * columns * count for rows, columns, count in self.kernels)

    @property
    def kernel_columns(self) -> int:
        """Output widths of all projections, together; an int8 kernel has a scale for each."""
        return sum(columns * count for _, columns, count in self.kernels)

    @property
    def other_values(self) -> int:
        """Values of the tables, the norms and the position biases."""
        sizes = self.sizes
        norms = 2 * sizes.encoder_layers + 3 * sizes.decoder_layers + 2
        tables = 1 if self.has_tied_head else 2
        return tables * self.table_values + norms * sizes.hidden_dim + 2 * self.relative_buckets * sizes.num_heads

    @property
    def num_parameters(self) -> int:
        """Values of all weights."""
        return self.kernel_values + self.other_values


class _Published(NamedTuple):
    """Width, feed-forward width, layers of each stack, heads and head width of a published size."""

    hidden: int
    wide: int
    layers: int
    heads: int
    head_dim: int = 64


# google-research/text-to-text-transfer-transformer, released_checkpoints.md
_T5_1_0 = {
    "small": _Published(512, 2048, 6, 8),
    "base": _Published(768, 3072, 12, 12),
    "large": _Published(1024, 4096, 24, 16),
    "3b": _Published(1024, 16384, 24, 32, 128),
    "11b": _Published(1024, 65536, 24, 128, 128),
}
_T5_1_1 = {
    "small": _Published(512, 1024, 8, 6),
    "base": _Published(768, 2048, 12, 12),
    "large": _Published(1024, 2816, 24, 16),
    "xl": _Published(2048, 5120, 24, 32),
    "xxl": _Published(4096, 10240, 24, 64),
}
_T5_ROWS, _MT5_ROWS = 32_128, 250_112
_TIED_PRESETS = ("t5_1.1_small", "t5_1.1_large")  # KerasHub's presets of these names have one table


def _form(size: _Published, rows: int, feed_forward: str, *, is_tied: bool) -> BackboneForm:
    sizes = BackboneSizes(size.hidden, size.layers, size.layers, size.heads, size.head_dim, size.wide)
    return BackboneForm(sizes=sizes, vocabulary_size=rows, feed_forward=feed_forward, has_tied_head=is_tied)


def _known() -> Mapping[str, BackboneForm]:
    known: dict[str, BackboneForm] = {}
    for name, size in _T5_1_1.items():
        form = _form(size, _T5_ROWS, GATED, is_tied=False)
        preset = f"t5_1.1_{name}"
        tied = _form(size, _T5_ROWS, GATED, is_tied=preset in _TIED_PRESETS)
        known |= {name: form, f"flan_{name}": form, f"flan_{name}_multi": form, preset: tied}
        known[f"mt5_{name}"] = _form(size, _MT5_ROWS, GATED, is_tied=False)
    for name, size in _T5_1_0.items():
        form = _form(size, _T5_ROWS, RELU, is_tied=True)
        known |= {f"t5_{name}": form, f"t5_{name}_multi": form}
    return known


KNOWN_FORMS: Mapping[str, BackboneForm] = _known()
"""Name -> form. `small` to `xxl` are T5 1.1 as it was published, with a head of its own (LM-adapted and Flan-T5 too)."""
