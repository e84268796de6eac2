"""Refuse templates with markers for what has no rows of a prompt to put there."""

from softprompt_tf.errors import ConfigError
from softprompt_tf.tasks import Task


def check_has_no_markers(task: Task, doing: str) -> None:
    """Refuse a task whose template has markers.

    Args:
      task: the task.
      doing: what it is for, the beginning of the message.

    Raises:
      ConfigError: with the template.
    """
    if task.template.marked_rows:
        raise ConfigError(
            f"{doing} has no rows of a prompt to put where markers say. Received: {task.inputs!r} of task {task.name}. "
            "Take the markers out of the template."
        )
