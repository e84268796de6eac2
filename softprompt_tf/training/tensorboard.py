"""Write TensorBoard event files with `tf.summary` alone."""

import contextlib
import os
from collections.abc import Iterator

import keras
import tensorflow as tf

from softprompt_tf.errors import TrainingError, first_line
from softprompt_tf.training.callbacks import Logs, MeanLogs, batch_weights, is_due, learning_rate, steps_done

# What `tf.summary.scalar` would set; that function needs the tensorboard package.
_SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})


class TensorBoardScalars(keras.callbacks.Callback):
    """Write the mean of each log value every few steps, the learning rate, and dev scores at the step they belong to.

    Means are weighted as those that Keras reports; it goes behind `BatchLogs`.

    Args:
      log_dir: folder of the event files; made if it is missing.
      every_steps: int. Steps over which training values are averaged. Default 10.

    Raises:
      TrainingError: if a file cannot be written, such as on a full disk.
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, every_steps: int = 10):
        super().__init__()
        self._log_dir = os.fspath(log_dir)
        self._every_steps = every_steps
        self._means = MeanLogs()
        self._previous = 0
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        with self._told():
            self._writer = tf.summary.create_file_writer(self._log_dir)
        self._previous = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = steps_done(self.model)
        scores = {name: value for name, value in (logs or {}).items() if name.startswith("val_")}
        values = {name: value for name, value in (logs or {}).items() if name not in scores}
        self._means.add(values, batch_weights(self.model))
        if scores:
            self._write(step, scores)
        if is_due(self._previous, step, self._every_steps):
            self._write(step, {**self._means.take(), "learning_rate": learning_rate(self.model)})
        self._previous = step

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Close the event file; also after an error, where Keras calls no `on_train_end`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(tf.errors.OpError):  # what was written is flushed; the rest has failed before
                writer.close()

    def _write(self, step: int, scalars: dict[str, float]) -> None:
        if self._writer is None:
            return
        with self._told():
            with self._writer.as_default():
                for name, value in scalars.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=_SCALAR)
            # A run may be killed at any moment; what it has measured should be on disk by then.
            self._writer.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise TrainingError(
                f"The TensorBoard files in {self._log_dir} cannot be written. Received: {first_line(error)}."
            ) from error
