"""Keep the weights of a T5 as they are: none can train, and none is another than when a prompt was first tied to them."""

import keras
import keras_hub

from softprompt_tf.errors import BackboneError
from softprompt_tf.shown_numbers import counted


def freeze(backbone: keras_hub.models.T5Backbone) -> None:
    """Make every weight of a backbone untrainable.

    `backbone.trainable = False` alone does nothing where the backbone has that value and a layer in it has not: Keras passes
    over an attribute that stays the same.
    """
    for layer in backbone._flatten_layers():
        keras.layers.Layer.trainable.fset(layer, False)


def check_untrainable(backbone: keras_hub.models.T5Backbone, name: str) -> None:
    """Refuse a backbone of which a weight can train.

    Raises:
      BackboneError: with the first such weight.
    """
    thawed = [variable.path for variable in backbone.weights if variable.trainable]
    if thawed:
        raise BackboneError(
            f"The weights of {name} must stay frozen. Received: {counted(len(thawed), 'trainable one')}, such as {thawed[0]}. Set "
            "the layers back by `t5.freeze()`; to train the T5 itself, see softprompt_tf.baselines."
        )


def check_unchanged(name: str, *, now: str, before: str) -> None:
    """Refuse a backbone whose fingerprint is another than before.

    Raises:
      BackboneError: with both.
    """
    if now != before:
        raise BackboneError(
            f"The weights of {name} must stay as they were. Received: weights with the fingerprint {now}, before "
            f"{before}. Load a T5 with the new weights by load_t5((backbone, tokenizer)), and train its prompts."
        )
