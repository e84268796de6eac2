"""The losses of a run since its last report, read from the device as late as they may be."""

import math
from collections import deque
from typing import Any

import numpy as np

from softprompt_tf.errors import NonFiniteLossError


class RecentLosses:
    """The losses since the last report, the newest of them perhaps still in the making on a device.

    Args:
      in_flight: how many losses may be waited for; 0 reads each one at once.

    Attributes:
      known: the losses that were read, by objective; a state takes them along.
    """

    def __init__(self, in_flight: int):
        self.known: dict[str, list[float]] = {}
        self._in_flight = in_flight
        self._waiting: deque[tuple[int, str, float, Any]] = deque()

    def add(self, step: int, objective: str, rate: float, loss: Any) -> None:
        """Take the loss of a step; the step and its rate are for the message.

        Raises:
          NonFiniteLossError: if a loss that is read now is not finite.
        """
        self._waiting.append((step, objective, rate, loss))
        self._read(self._in_flight)

    def settle(self) -> None:
        """Wait for all losses."""
        self._read(0)

    def means(self) -> dict[str, float]:
        """Return the mean loss of each objective, and begin anew."""
        self.settle()
        means = {name: round(float(np.mean(losses)), 4) for name, losses in sorted(self.known.items())}
        self.known = {}
        return means

    def _read(self, left: int) -> None:
        while len(self._waiting) > left:
            step, objective, rate, loss = self._waiting.popleft()
            if not math.isfinite(loss := float(loss)):
                raise NonFiniteLossError(f"The loss must be finite. Received: {loss} at step {step}, rate {rate:.3g}.")
            self.known.setdefault(objective, []).append(loss)
