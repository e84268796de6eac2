"""The hidden states of a training step, which terms of the loss look at behind the pass that made them."""

import threading

from softprompt_tf.backbones.passes.cheaper_passes import HiddenStates
from softprompt_tf.errors import TrainingError
from softprompt_tf.typing import Tensor


class StepStates:
    """The states of the last training pass of this thread; a replica has a thread of its own."""

    def __init__(self) -> None:
        self._last = threading.local()

    def keep(self, logits: Tensor, states: HiddenStates) -> None:
        """Keep the states of the pass that gave these logits."""
        self._last.step = (logits, states)

    def of(self, logits: Tensor) -> HiddenStates:
        """Return the states of the pass that gave these logits.

        Raises:
          TrainingError: if that was not the last training pass.
        """
        of_logits, states = getattr(self._last, "step", (None, None))
        if states is None or of_logits is not logits:
            raise TrainingError(
                "A term about hidden states needs the logits of the last training pass. Received: other logits. "
                "Call `model(inputs, training=True)`, and pass what it returns to `compute_loss`."
            )
        return states
