"""Decode what was encoded, by greedy or beam search over one cached step function.

Both stop as soon as every row has ended. A score is the sum of the log-probabilities of the tokens of the answer, the end
of sequence included, in nats.
"""

import keras_hub
from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded
from softprompt_tf.backbones.passes.shared_source import SharedSource, project_shared
from softprompt_tf.errors import ConfigError
from softprompt_tf.inference.beam import Beam as Beam
from softprompt_tf.inference.greedy import Greedy as Greedy
from softprompt_tf.inference.sampler import Sampler as Sampler
from softprompt_tf.injection import Injection
from softprompt_tf.typing import Tensor


def decode(
    sampler: Sampler,
    t5: FrozenT5,
    encoded: Encoded,
    max_tokens: int | Tensor,
    *,
    row_limits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Decode what was encoded; see `Sampler`."""
    injected = {"injection": encoded.injection} if encoded.injection.moves_decoding else {}
    return sampler(t5, encoded.output, encoded.padding_mask, max_tokens, row_limits=row_limits, **injected)


def sharing_sampler(sampler: Sampler) -> Greedy | Beam | None:
    """Return the sampler where `decode_shared` can run it. None for one of a user's own, which asks for each row's output."""
    return sampler if type(sampler) in (Greedy, Beam) else None  # type: ignore[return-value]


def decode_shared(
    sampler: Greedy | Beam,
    t5: FrozenT5,
    source: SharedSource,
    injection: Injection,
    max_tokens: int | Tensor,
    *,
    row_limits: Tensor,
) -> tuple[Tensor, Tensor]:
    """Decode rows of groups that read the same text; see `Sampler`.

    Args:
      sampler: from `sharing_sampler`.
      t5: the frozen T5.
      source: what the rows see of the encoder output.
      injection: what the rows' tasks inject into the decoder; one where `moves_cross_keys` does not hold.
      max_tokens: U, where every answer is cut.
      row_limits: int [B].
    """
    view, num_rows = project_shared(t5, source, injection), ops.shape(row_limits)[0]
    return sampler.search(t5, view, num_rows, max_tokens, row_limits=row_limits, key_values=injection.decoder)


def get_sampler(sampler: "str | Sampler") -> Sampler:
    """Turn "greedy" or "beam" into a sampler; a sampler object comes back as it is.

    Raises:
      ConfigError: for anything else, such as a sampler of KerasHub, which is called in another way.
    """
    named: dict[str, Sampler] = {"greedy": Greedy(), "beam": Beam()}
    is_other = isinstance(sampler, type | keras_hub.samplers.Sampler)
    if callable(sampler) and not is_other:
        return sampler
    if not isinstance(sampler, str) or sampler not in named:
        raise ConfigError(
            f"`sampler` must be one of {', '.join(named)} or an object such as Beam(8). Received: {sampler!r}."
        )
    return named[sampler]
