"""Invertible adapters: what texts' embeddings become, and, the other way, decoder states before the output projection.

A coupling of the two halves of a vector can be undone whatever its bottlenecks are.

Sources: Dinh et al. 2015, arXiv:1410.8516 (NICE); Pfeiffer et al. 2020, arXiv:2005.00052, section 3.3 (MAD-X). Where it goes in
follows adapter-hub/adapters:src/adapters/models/t5/modeling_t5.py.
"""

from keras import ops

from softprompt_tf.backbones.passes.layer_changes import bottleneck, by_row
from softprompt_tf.injection import InvertibleAdapter
from softprompt_tf.typing import Tensor


def coupled(states: Tensor, adapter: InvertibleAdapter | None) -> Tensor:
    """Return what a batch's rows make of the embeddings [B, T, H] of their texts; the same where there is no adapter."""
    if adapter is None:
        return states
    first, second, into_first, into_second = _parts(states, adapter)
    first = first + bottleneck(second, into_first)
    second = second + bottleneck(first, into_second)
    return _joined(first, second, states)


def uncoupled(states: Tensor, adapter: InvertibleAdapter | None) -> Tensor:
    """Return the vectors that `coupled` makes states of, [B, U, H] or [B * U, H] like them."""
    if adapter is None:
        return states
    first, second, into_first, into_second = _parts(states, adapter)
    second = second - bottleneck(first, into_second)
    first = first - bottleneck(second, into_first)
    return _joined(first, second, states)


def _parts(states: Tensor, adapter: InvertibleAdapter) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the halves [B, S, H / 2] of states, and the units that change each."""
    rows = ops.cast(adapter.rows, states.dtype)
    states = by_row(states, rows)  # [B, S, H]
    half = states.shape[-1] // 2
    return states[..., :half], states[..., half:], rows[:, :, 0], rows[:, :, 1]


def _joined(first: Tensor, second: Tensor, like: Tensor) -> Tensor:
    return ops.reshape(ops.concatenate([first, second], axis=-1), ops.shape(like))
