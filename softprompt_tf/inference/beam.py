"""Beam search over one cached step function."""

from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import ops

from softprompt_tf.backbones import EOS_ID, PAD_ID, START_ID, FrozenT5
from softprompt_tf.backbones.passes.cached_decoder import decode_step, empty_cache, position_biases
from softprompt_tf.backbones.passes.encoder_views import View
from softprompt_tf.errors import ConfigError
from softprompt_tf.inference.sampler import by_cheaper_view
from softprompt_tf.injection import NO_INJECTION, Injection, KeyValues
from softprompt_tf.typing import Tensor

_IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable("softprompt_tf")
@dataclass(frozen=True)
class Beam:
    """Keep the `num_beams` most likely answers at every step and return the best complete one.

    Args:
      num_beams: G, at least 1; 1 is greedy search.
      length_penalty: alpha of ((5 + length) / 6)^alpha, by which the sum of log-probabilities is divided to rank answers.
        Default 0.6, as T5X's `decode_fn`. The score that is returned is the plain sum.

    Examples:
      >>> model.sampler = sp.Beam(num_beams=8)
      >>> model.sampler
      Beam(num_beams=8, length_penalty=0.6)

    Source: Wu et al. 2016, section 7, arXiv:1609.08144.
    """

    num_beams: int = 4
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if not isinstance(self.num_beams, int) or self.num_beams < 1:
            raise ConfigError(f"`num_beams` must be an integer, at least 1. Received: num_beams={self.num_beams}.")

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

        return by_cheaper_view(t5, max_tokens * self.num_beams, encoder_output, padding_mask, injection, search)

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
        last = (max_tokens if row_limits is None else row_limits[:, None]) - 1  # [B, 1], or one number for all
        biases, beams = position_biases(t5, max_tokens, key_values), self.num_beams
        cache = empty_cache(t5, num_rows * beams, max_tokens, beams=beams, key_values=key_values)

        def step(
            index: Tensor,
            ids: Tensor,
            tokens: Tensor,
            scores: Tensor,
            done: Tensor,
            lengths: Tensor,
            *cache: Tensor,
        ) -> tuple[Tensor, ...]:
            logits, cache = decode_step(t5, tokens, index, cache, biases, encoder)
            scores, parent, token = self._extend(scores, done, lengths, logits)
            ids = ops.take_along_axis(ids, parent[..., None], axis=1)
            done = ops.take_along_axis(done, parent, axis=1)
            lengths = ops.take_along_axis(lengths, parent, axis=1) + ops.cast(ops.logical_not(done), "float32")
            token = ops.where(done, PAD_ID, token)
            ids = ops.where(ops.equal(ops.arange(max_tokens), index), token[..., None], ids)
            done = ops.logical_or(done, ops.logical_or(ops.equal(token, EOS_ID), index >= last))
            rows = ops.reshape(ops.arange(num_rows, dtype="int32")[:, None] * beams + parent, (-1,))
            return index + 1, ids, token, scores, done, lengths, *(ops.take(part, rows, axis=0) for part in cache)

        def goes_on(index: Tensor, ids: Tensor, tokens: Tensor, scores: Tensor, done: Tensor, *rest: Tensor) -> Tensor:
            return ops.logical_not(ops.all(done))

        _, ids, _, scores, _, lengths, *_ = ops.while_loop(
            goes_on, step, (*self._start(num_rows, max_tokens), *cache), maximum_iterations=max_tokens
        )
        best = ops.argmax(scores / self._penalty(lengths), axis=-1)[:, None]  # [B, 1]
        return (
            ops.squeeze(ops.take_along_axis(ids, best[..., None], axis=1), axis=1),
            ops.squeeze(ops.take_along_axis(scores, best, axis=1), axis=1),
        )

    def _start(self, num_rows: Any, max_tokens: int | Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first step: its index, the answers, last tokens, scores, what has ended, and lengths."""
        beams = self.num_beams
        # Only beam 0 is alive at first: all beams start from the same token.
        first = ops.where(ops.arange(beams) == 0, 0.0, _IMPOSSIBLE)[None]
        return (
            ops.convert_to_tensor(0, dtype="int32"),
            ops.full((num_rows, beams, max_tokens), PAD_ID, dtype="int32"),
            ops.full((num_rows, beams), START_ID, dtype="int32"),
            ops.zeros((num_rows, 1), dtype="float32") + first,
            ops.zeros((num_rows, beams), dtype="bool"),
            ops.zeros((num_rows, beams), dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Beam":
        return cls(**config)

    def _extend(self, scores: Tensor, done: Tensor, lengths: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the best G of all one-token extensions, ranked with the length penalty.

        All extensions of one beam share its length, so only its own G likeliest tokens can be among them.

        Args:
          scores: [B, G] sums of log-probabilities so far.
          done: [B, G]; a beam that has ended goes on as itself alone.
          lengths: [B, G] tokens so far, as floats.
          logits: [B, G, V] of the next token.

        Returns:
          scores [B, G], the beam that each one extends int32 [B, G], and its token int32 [B, G].
        """
        beams = self.num_beams
        highest, tokens = ops.top_k(logits, beams)  # [B, G, G]
        gained = highest - ops.logsumexp(logits, axis=-1, keepdims=True)
        stays = ops.where(ops.arange(beams) == 0, 0.0, _IMPOSSIBLE)
        totals = scores[..., None] + ops.where(done[..., None], stays, gained)
        tokens = ops.where(done[..., None], PAD_ID, ops.cast(tokens, "int32"))
        new_lengths = lengths + ops.cast(ops.logical_not(done), "float32")
        _, chosen = ops.top_k(_flat(totals / self._penalty(new_lengths)[..., None]), beams)
        chosen = ops.cast(chosen, "int32")
        scores, tokens = (ops.take_along_axis(_flat(part), chosen, axis=1) for part in (totals, tokens))
        return scores, chosen // beams, tokens

    def _penalty(self, lengths: Tensor) -> Tensor:
        return ((5.0 + lengths) / 6.0) ** self.length_penalty


def _flat(candidates: Tensor) -> Tensor:
    """[B, G, G] to [B, G * G]."""
    beams = candidates.shape[-1]
    return ops.reshape(candidates, (-1, beams * beams))
