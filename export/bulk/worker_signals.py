"""What a job and its workers tell each other through files of the work directory, in whatever processes they run."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf import errors
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.files.atomic_file import write_atomically


@dataclass(frozen=True)
class WorkerSignals:
    """The files of one run of a job.

    Args:
      directory: the job's work directory.
      run: a name that no other run has, so that what an earlier one left says nothing.
    """

    directory: str
    run: str

    def stop(self) -> None:
        """Ask the workers to finish nothing more."""
        self._stop.touch()

    def is_stopped(self) -> bool:
        """Return whether the job shall stop."""
        return self._stop.exists()

    @contextlib.contextmanager
    def failures_told(self) -> Iterator[None]:
        """Keep an error of this library for the job: a runner may pass it on as another one."""
        try:
            yield
        except SoftPromptError as error:
            told = {"type": type(error).__name__, "message": str(error)}
            with contextlib.suppress(errors.ServingError):  # on a full disk the runner's own error must do
                write_atomically(self._failure, json.dumps(told).encode(), error_type=errors.ServingError)
            raise

    def failure(self) -> SoftPromptError | None:
        """Return the error that a worker has told, if any."""
        try:
            told = json.loads(self._failure.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        error: SoftPromptError = getattr(errors, told["type"])(told["message"])
        return error

    @property
    def _stop(self) -> Path:
        return Path(self.directory) / f"stop-{self.run}"

    @property
    def _failure(self) -> Path:
        return Path(self.directory) / f"failure-{self.run}.json"
