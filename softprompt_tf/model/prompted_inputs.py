"""Prepare what the frozen T5 takes: embeddings, their mask, and what the tasks inject."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, HiddenStates, encode_injected, tune
from softprompt_tf.backbones.passes.invertible_adapters import coupled
from softprompt_tf.backbones.passes.label_scores import label_logits
from softprompt_tf.injection import Injection
from softprompt_tf.methods import TaskTable, embedded, injection_of, put_in_front, with_offsets
from softprompt_tf.methods.task_tensors import entry_layer
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.typing import Tensor

Table = Callable[[Tensor, Tensor | None], Mapping[str, Tensor]]
"""Token ids [B, T] and the rows' task ids, if there are several tasks -> each row's tensors [B, ...]; a `TaskTable` is such."""
Drop = Callable[[Tensor], Tensor]
"""A prompt's rows [B, P, H] -> the same with values that are 0 for this step."""


class Entered(NamedTuple):
    """What goes into the encoder's layers.

    Args:
      states: [B, S, H], embeddings with offsets and with injected rows in front, or cached states.
      padding_mask: [B, S], 1 = a position to attend to.
      injection: all that is injected.
      first: the first encoder layer that runs; None: the states are the encoder output.
    """

    states: Tensor
    padding_mask: Tensor
    injection: Injection
    first: int | None


def functional_parts(t5: FrozenT5, table: TaskTable) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """Return the inputs and the logits of a functional Keras model of a T5 and what a method trains for it."""
    inputs = {
        key: keras.Input((None,), dtype="int32", name=key)
        for key in ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
    }
    if table.num_tasks is not None:
        inputs["task_id"] = keras.Input((), dtype="int32", name="task_id")
    embeddings, mask, injection, _ = embed(t5, table, inputs)
    states = t5.encode(tied(embeddings, injection), mask)
    states = t5.decode(inputs["decoder_token_ids"], states, mask)
    return inputs, logits_of(t5, states, injection)


def encode(t5: FrozenT5, table: Table, batch: Mapping[str, Tensor]) -> Encoded:
    """Run the encoder on a batch with what its tasks inject."""
    states, mask, injection, first = embed(t5, table, batch)
    return encode_injected(t5, states, mask, injection, first=first)


def embed(t5: FrozenT5, table: Table, batch: Mapping[str, Tensor], drop: Drop | None = None) -> Entered:
    """Return the tokens' embeddings with what is added to them and in front of them, or the batch's cached states where it
    brings some."""
    token_ids, cached = batch["encoder_token_ids"], batch.get(ENCODER_STATES)
    tensors = table(token_ids, batch.get("task_id"))
    injection = injection_of(tensors)
    if drop is not None:
        injection = _dropped(injection, drop)
    if isinstance(token_ids, keras.KerasTensor):  # whose length is unknown; see `tied`
        states = embedded(t5.embed, token_ids, injection.placed)
    elif cached is None:
        states = embeddings_of(t5, token_ids, injection)
    else:
        states = ops.cast(cached, t5.compute_dtype)
    states, mask = put_in_front(injection.front, states, batch["encoder_padding_mask"])
    return Entered(states, mask, injection, 0 if cached is None else entry_layer(tensors))


def embeddings_of(t5: FrozenT5, token_ids: Tensor, injection: Injection) -> Tensor:
    """Return the embeddings [B, T, H] of texts, with what tasks make of them, put among them and add to them."""

    def embed_text(token_ids: Tensor) -> Tensor:
        return coupled(t5.embed(token_ids), injection.invertible)

    return with_offsets(embedded(embed_text, token_ids, injection.placed), injection.offsets)


def tuned_logits(t5: FrozenT5, table: Table, batch: Mapping[str, Tensor], **settings: Any) -> Tensor:
    """Return a batch's logits [B, U, V] for training; settings as in `tuned_outputs`."""
    return tuned_outputs(t5, table, batch, **settings)[0]


def tuned_outputs(
    t5: FrozenT5,
    table: Table,
    batch: Mapping[str, Tensor],
    *,
    recompute: bool = False,
    can_branch: bool = True,
    drop: Drop | None = None,
) -> tuple[Tensor, HiddenStates]:
    """Return a batch's logits [B, U, V] for training and the states that they are of: only what the table holds has a gradient.

    Settings are as in `tune`, and `drop` as in `embed`. With label rows the decoder states have one position more.
    """
    entering, mask, injection, first = embed(t5, table, batch, drop)
    token_ids = batch["decoder_token_ids"]
    if injection.labels is not None:  # one more, as Keras warns of a softmax over one score; the first does not see it
        token_ids = ops.pad(token_ids, [[0, 0], [0, 1]])
    states = tune(
        t5,
        entering,
        mask,
        token_ids,
        injection,
        first=first,
        num_moving=_num_moving(injection),
        recompute=recompute,
        can_branch=can_branch,
    )
    return logits_of(t5, states.decoder, injection), states


def logits_of(t5: FrozenT5, states: Tensor, injection: Injection) -> Tensor:
    """Return logits of decoder states [B, U, H]: over the vocabulary [B, U, V], or over labels with rows [B, 1, 1 + C]."""
    if injection.labels is not None:
        return label_logits(t5, states, injection.labels.rows)
    if isinstance(states, keras.KerasTensor):
        return t5.logits(states)
    return t5.logits(states, injection.invertible, tuning=True)


def tied(embeddings: Tensor, injection: Injection) -> Tensor:
    """Return embeddings that depend on all that goes in elsewhere: Keras's functional model has no place for that, but has to
    know the table."""
    for part in (
        injection.encoder,
        injection.decoder,
        injection.cross,
        *injection.late,
        injection.behind,
        injection.offsets,
        injection.invertible,
        injection.sight,
        *injection.changes,
    ):
        if part is not None:
            axes = tuple(range(1, len(part.rows.shape)))
            embeddings = embeddings + 0 * ops.sum(part.rows, axis=axes)[:, None, None]
    return embeddings


def _dropped(injection: Injection, drop: Drop) -> Injection:
    """Return what is injected with values of the prompt dropped, wherever its rows go."""
    front = None if injection.front is None else injection.front._replace(rows=drop(injection.front.rows))
    return injection._replace(
        front=front, placed=tuple(part._replace(rows=drop(part.rows)) for part in injection.placed)
    )


def _num_moving(injection: Injection) -> int | None:
    """Return how many rows in front of the input have a gradient; None for all, where something moves every position, or rows
    stand among the text's."""
    if injection.offsets is not None or injection.invertible is not None or injection.placed:
        return None
    if injection.front is not None:
        return int(injection.front.rows.shape[1])
    return None if injection.moves_encoder else 0
