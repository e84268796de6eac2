"""What a model answers for one row, the same from Keras and from a model server. Imports nothing, so that a client stays light."""

from dataclasses import dataclass

NO_SCORE = -1e9
"""What an export writes where there is no log-probability, in nats: of a label that a task does not have, of a bad row.

JSON has no infinity, so a finite number is written; as a float32 it is exact, and its exponential is 0.
"""


@dataclass(frozen=True)
class Generation:
    """One generated text.

    Args:
      text: the decoded text.
      score: the sum of the log-probabilities of its tokens, the end of sequence included, in nats.

    Examples:
      >>> sp.Generation(text="a reply", score=-0.5).text
      'a reply'
    """

    text: str
    score: float


@dataclass(frozen=True)
class Classification:
    """The best of a task's labels for one row.

    Args:
      label: the label with the highest probability.
      probability: its probability among the task's labels, in [0, 1].
      labels: all labels of the task.
      log_probabilities: of each label, in nats; their exponentials add up to 1.

    Examples:
      >>> model.classify(["a charming film"])[0].label
      'positive'
    """

    label: str
    probability: float
    labels: tuple[str, ...]
    log_probabilities: tuple[float, ...]
