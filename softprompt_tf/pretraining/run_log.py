"""The log of a pretraining run: one JSON line for each report, on the screen and in a file that goes back with the state."""

import json
import math
import sys
from pathlib import Path

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.progress import say


class RunLog:
    """The lines of one run."""

    def __init__(self, path: Path):
        self._path = path

    def write(self, step: int, **values: object) -> None:
        """Print a line and add it to the file.

        Raises:
          TrainingError: if the file cannot be written. What a full disk leaves of the line is dropped as the run goes on.
        """
        line = json.dumps({"step": step, **values})
        say(line, stream=sys.stdout)
        try:
            with self._path.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        except OSError as error:
            raise TrainingError(f"The log {self._path} cannot be written. Received: {error}.") from error

    def keep_until(self, step: int) -> None:
        """Drop the lines of later steps, which a run that goes on writes again."""
        if not self._path.is_file():
            return
        kept = [line for line in self._path.read_text("utf-8").splitlines() if _step_of(line) <= step]
        content = "".join(f"{line}\n" for line in kept).encode("utf-8")
        write_atomically(self._path, content, error_type=TrainingError)


def _step_of(line: str) -> float:
    """Return the step of a line; infinity for a line that was cut off by a kill."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
