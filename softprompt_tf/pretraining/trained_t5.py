"""Say whether a T5 is one that `adapt` can train: float32 weights, plain layers, and sentinels as span corruption has them."""

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.known_layers import check_plain
from softprompt_tf.backbones.tokenization.piece_model import NUM_SENTINELS
from softprompt_tf.errors import BackboneError


def check_all_can_train(t5: FrozenT5) -> None:
    """Refuse changed layers, and weights that most steps would be rounded away from: bfloat16 has 8 bits.

    Raises:
      BackboneError: with the dtype or the layer.
    """
    if t5.backbone.dtype_policy.variable_dtype != "float32":
        raise BackboneError(
            f"Training all weights needs float32 weights. Received: a T5 of dtype {t5.backbone.dtype_policy.name}. Load it "
            "with dtype='float32'; `precision` is that of the activations."
        )
    check_plain(t5.backbone, doing="Training all weights")


def first_sentinel(t5: FrozenT5) -> int:
    """Return the id of sentinel 0, from which span corruption counts down.

    Raises:
      BackboneError: if a sentinel has no row, or they do not count down.
    """
    first = t5.sentinel_id(0)
    other = next((k for k in range(NUM_SENTINELS) if t5.sentinel_id(k) != first - k), None)
    if other is not None:
        raise BackboneError(
            f"Span corruption needs sentinels whose ids count down. Received: <extra_id_0> with id {first} and "
            f"<extra_id_{other}> with id {t5.sentinel_id(other)}. Leave the objective out."
        )
    return first
