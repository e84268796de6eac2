"""What a way to decode is, and the view of the encoder output that it reads."""

from collections.abc import Callable
from typing import Protocol

from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import by_cost
from softprompt_tf.backbones.passes.encoder_views import View, absorb_encoder_output, project_encoder_output
from softprompt_tf.injection import NO_INJECTION, Injection
from softprompt_tf.typing import Tensor

_TYPICAL_SOURCE = 128  # positions, where a graph does not know them; a choice at run time would trace two loops


class Sampler(Protocol):
    """A way to decode.

    Call arguments:
      encoder_output: [B, S, H], with its padding_mask [B, S].
      max_tokens: U, where every answer is cut; a number, or in a graph a scalar int32 tensor.
      row_limits: int [B], where each row's answer is cut, at most U. Default None, all at U.
      injection: key/values that the rows' tasks add to the decoder. It is handed over only where there are any.

    Returns:
      ids int32 [B, U], 0 behind the end of sequence, and scores float32 [B].
    """

    def __call__(
        self,
        t5: FrozenT5,
        encoder_output: Tensor,
        padding_mask: Tensor,
        max_tokens: int | Tensor,
        *,
        row_limits: Tensor | None = None,
        injection: Injection = NO_INJECTION,
    ) -> tuple[Tensor, Tensor]: ...


def by_cheaper_view(
    t5: FrozenT5,
    num_tokens: int | Tensor,
    encoder_output: Tensor,
    padding_mask: Tensor,
    injection: Injection,
    search: Callable[[View], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Search with the view of the encoder output that is cheaper for so many tokens a row."""
    source_length = ops.shape(encoder_output)[1]
    if isinstance(num_tokens, int) and not isinstance(source_length, int):
        source_length = _TYPICAL_SOURCE
    return by_cost(
        t5,
        num_tokens,
        source_length,
        few=lambda: search(absorb_encoder_output(t5, encoder_output, padding_mask, injection)),
        many=lambda: search(project_encoder_output(t5, encoder_output, padding_mask, injection)),
        can_absorb=not injection.moves_cross_keys,
    )
