"""Compare the tables of a Hugging Face T5: the embedding table, its copies in both stacks, and the head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.backbones.checkpoints.model_kind import has_no_head
from softprompt_tf.errors import BackboneError

TABLE = "shared.weight"
TABLE_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
HEAD = "lm_head.weight"


def has_tied_head(stored: Mapping[str, StoredTensor]) -> bool:
    """Tell from the weights: no head, or one that is the embedding table."""
    head, table = stored.get(HEAD), stored.get(TABLE)
    if head is None or table is None:
        return head is None
    return _are_equal(head, table)


def check_one_table(directory: Path, stored: Mapping[str, StoredTensor]) -> None:
    """Refuse stacks with different embedding tables.

    Raises:
      BackboneError: naming both tables.
    """
    table = stored.get(TABLE)
    for copy in TABLE_COPIES:
        if table is not None and copy in stored and not _are_equal(stored[copy], table):
            raise BackboneError(
                f"The encoder and the decoder of a T5 must share one embedding table. Received: {copy} in {directory}, which "
                f"differs from {table.name}."
            )


def check_head(
    directory: Path, config: Mapping[str, Any], stored: Mapping[str, StoredTensor], *, scales_logits: bool
) -> None:
    """Refuse a model that says that its head is not the table, and has no head.

    transformers 5 does not say so of a T5 1.1. There, a class without a head tells, as a T5 1.0 alone scales its logits.

    Raises:
      BackboneError: naming the weight that is missing.
    """
    if has_no_head(config) and not scales_logits and HEAD not in stored:
        raise BackboneError(
            f"A T5 1.1 must have a head of its own. Received: no weight {HEAD} in {directory}, whose config says "
            f"{config['architectures'][0]}. Load the T5ForConditionalGeneration that it was made from."
        )
    if config.get("tie_word_embeddings", True) is False and HEAD not in stored:
        raise BackboneError(
            f"A T5 with `tie_word_embeddings: false` must have a head of its own. Received: no weight {HEAD} in {directory}. "
            "Set it to true in the config if the head is the embedding table."
        )


def _are_equal(one: StoredTensor, other: StoredTensor) -> bool:
    if one.shape != other.shape:
        return False
    blocks = zip(one.blocks(), other.blocks(), strict=True)
    return all(np.array_equal(ours, theirs) for (_, ours), (_, theirs) in blocks)
