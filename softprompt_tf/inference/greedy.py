"""Greedy search over one cached step function."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from softprompt_tf.backbones import EOS_ID, PAD_ID, START_ID, FrozenT5
from softprompt_tf.backbones.passes.cached_decoder import decode_step, empty_cache, position_biases
from softprompt_tf.backbones.passes.encoder_views import View
from softprompt_tf.inference.sampler import by_cheaper_view
from softprompt_tf.injection import NO_INJECTION, Injection, KeyValues
from softprompt_tf.typing import Tensor


@keras.saving.register_keras_serializable("softprompt_tf")
@dataclass(frozen=True)
class Greedy:
    """Take the most likely token at every step.

    Examples:
      >>> model.sampler = sp.Greedy()
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
    ) -> tuple[Tensor, Tensor]:
        def search(encoder: View) -> tuple[Tensor, Tensor]:
            num_rows = ops.shape(encoder_output)[0]
            return self.search(t5, encoder, num_rows, max_tokens, row_limits=row_limits, key_values=injection.decoder)

        return by_cheaper_view(t5, max_tokens, encoder_output, padding_mask, injection, search)

    def search(
        self,
        t5: FrozenT5,
        encoder: View,
        num_rows: Any,
        max_tokens: int | Tensor,
        *,
        row_limits: Tensor | None = None,
        key_values: KeyValues | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Search on a view of the encoder output; see `Sampler` for the rest."""
        last = (max_tokens if row_limits is None else row_limits) - 1
        biases = position_biases(t5, max_tokens, key_values)

        def step(
            index: Tensor, ids: Tensor, tokens: Tensor, scores: Tensor, done: Tensor, *cache: Tensor
        ) -> tuple[Tensor, ...]:
            logits, cache = decode_step(t5, tokens, index, cache, biases, encoder)
            logits = logits[:, 0]  # [B, V]
            best = ops.cast(ops.argmax(logits, axis=-1), "int32")
            gained = ops.max(logits, axis=-1) - ops.logsumexp(logits, axis=-1)
            best = ops.where(done, PAD_ID, best)
            scores = scores + ops.where(done, 0.0, gained)
            ids = ops.where(ops.equal(ops.arange(max_tokens), index)[None], best[:, None], ids)
            done = ops.logical_or(done, ops.logical_or(ops.equal(best, EOS_ID), index >= last))
            return index + 1, ids, best[:, None], scores, done, *cache

        def goes_on(index: Tensor, ids: Tensor, tokens: Tensor, scores: Tensor, done: Tensor, *cache: Tensor) -> Tensor:
            return ops.logical_not(ops.all(done))

        zeros = ops.zeros((num_rows, 1), dtype="int32")
        state = (
            ops.convert_to_tensor(0, dtype="int32"),
            ops.full((num_rows, max_tokens), PAD_ID, dtype="int32"),
            zeros + START_ID,
            ops.zeros((num_rows,), dtype="float32"),
            ops.zeros((num_rows,), dtype="bool"),
            *empty_cache(t5, num_rows, max_tokens, key_values=key_values),
        )
        _, ids, _, scores, *_ = ops.while_loop(goes_on, step, state, maximum_iterations=max_tokens)
        return ids, scores

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Greedy":
        return cls()
