"""A batch's tokens and the table of its tasks in, what a frozen T5 takes out: embeddings, their mask, and all that is injected."""

from collections.abc import Mapping

from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, encode_injected
from softprompt_tf.injection import Injection
from softprompt_tf.methods import TaskTable, injection_of, put_in_front
from softprompt_tf.typing import Tensor


def encode(t5: FrozenT5, table: TaskTable, batch: Mapping[str, Tensor]) -> Encoded:
    """Run the encoder on a batch with what its tasks inject."""
    embeddings, mask, injection = embed(t5, table, batch)
    return encode_injected(t5, embeddings, mask, injection)


def embed(t5: FrozenT5, table: TaskTable, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Injection]:
    """Return the tokens' embeddings [B, P + T, H] with injected rows in front, their mask, and all that is injected."""
    token_ids = batch["encoder_token_ids"]
    injection = injection_of(table(token_ids, batch.get("task_id")))
    embeddings, mask = put_in_front(injection.front, t5.embed(token_ids), batch["encoder_padding_mask"])
    return embeddings, mask, injection


def tied(embeddings: Tensor, injection: Injection) -> Tensor:
    """Return embeddings that depend on all that goes in elsewhere: Keras's functional model has no place for that, but has to
    know the table."""
    for part in (injection.encoder, injection.decoder, injection.cross, *injection.late, injection.behind):
        if part is not None:
            axes = tuple(range(1, len(part.rows.shape)))
            embeddings = embeddings + 0 * ops.sum(part.rows, axis=axes)[:, None, None]
    return embeddings
