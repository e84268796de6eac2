"""A training that is gone on with from a checkpoint, beside the one that was never stopped."""

from softprompt_tf.training import PromptCheckpoint


def whole_and_resumed(directory, make, data):
    """Train two epochs as a whole, and the second one again from the checkpoint behind the first.

    Args:
      directory: of the checkpoint.
      make: a seed -> a compiled model; the resumed one starts from another seed, of which nothing may stay.
      data: what `fit` takes.

    Returns:
      Both models.
    """

    def trained(seed):
        model = make(seed)
        model.optimizer.build(model.trainable_variables)
        checkpoint = PromptCheckpoint(directory, seed=1)
        checkpoint.resume(model)
        model.fit(data, epochs=1, verbose=0, shuffle=False, callbacks=[checkpoint])
        return model

    whole = trained(seed=3)  # of which the checkpoint is left
    whole.fit(data, epochs=1, verbose=0, shuffle=False)
    return whole, trained(seed=8)
