"""What a model server says of the tasks that it answers."""

from dataclasses import dataclass

from softprompt_tf.errors import DataError
from softprompt_tf.export.client.answers import Outputs, counts_of, decoded, strings_of

_COUNTS = ("num_labels", "max_input_tokens", "max_target_tokens", "num_prompts")


@dataclass(frozen=True)
class TaskInfo:
    """One task of a served model.

    Args:
      task_id: what a request names it.
      labels: its labels, of which `classify` chooses one; none for a task that only generates.
      max_input_tokens: where its texts are cut.
      max_target_tokens: where its generated texts end.
      num_prompts: how many prompts vote; 1 for a task that is no ensemble.

    Examples:
      >>> from softprompt_tf.export import PredictionClient  # or from softprompt_client
      >>> with PredictionClient("localhost:8500", model_name="t5") as client:
      ...     {task.task_id: task.labels for task in client.tasks()}
      {'film': ('negative', 'positive')}
    """

    task_id: str
    labels: tuple[str, ...]
    max_input_tokens: int
    max_target_tokens: int
    num_prompts: int


def read_tasks(outputs: Outputs) -> list[list[TaskInfo]]:
    """Return the tasks that each row found, from the outputs of the signature `tasks`; see `export.graph.task_listing`.

    Raises:
      DataError: if they are not those of that signature.
    """
    ids, labels = strings_of(outputs, "task_id", rank=2), strings_of(outputs, "labels", rank=3)
    columns = [counts_of(outputs, name, rank=2) for name in _COUNTS]
    shapes = {values.shape for values in (ids, *columns)}
    if shapes != {labels.shape[:2]}:
        raise DataError(f"The outputs of `tasks` must match. Received: labels {labels.shape}, others {shapes}.")
    words = [decoded(row) for row in labels.rows()]
    counts = zip(*(column.values for column in columns), strict=True)
    tasks = [
        TaskInfo(task_id, tuple(names[:num_labels]), *numbers)
        for task_id, names, (num_labels, *numbers) in zip(decoded(ids.values), words, counts, strict=True)
    ]
    num_rows, most = ids.shape
    rows = [tasks[row * most : (row + 1) * most] for row in range(num_rows)]
    return [[task for task in row if task.task_id] for row in rows]
