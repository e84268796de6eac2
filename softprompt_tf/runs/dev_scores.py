"""The dev split's scores during a run, kept at the best step, so that the end of the run need not ask the model again."""

from collections.abc import Callable, Mapping
from typing import Any

from softprompt_tf.evaluation.scores import TaskScores

Scores = Mapping[str, TaskScores]
"""Task name -> metrics and predictions."""


class DevScores:
    """Scores of the prompts that a training looks at.

    Args:
      score: scores the model as it is now.

    Example:
      >>> dev = DevScores(score)
      >>> train_prompt(model, batches, steps=100, seed=1, evaluate=dev.evaluate, on_best=dev.keep)
      >>> dev.of_best()  # the scores of the prompt that the training left
    """

    def __init__(self, score: Callable[[], Scores]):
        self._score = score
        self._last: Scores | None = None
        self._best: Scores | None = None

    def evaluate(self) -> dict[str, float]:
        """Score the model; return its metrics by name, as `named_metrics` does."""
        self._last = self._score()
        return named_metrics({name: each.metrics for name, each in self._last.items()})

    def keep(self, trained: Any, metrics: Mapping[str, float]) -> None:
        """Keep what `evaluate` found last: it is the best one."""
        self._best = self._last

    def of_best(self) -> Scores | None:
        """Return the scores of the best prompt; None where an earlier process scored it, or no score was a number."""
        return self._best


def named_metrics(scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of tasks by name: "metric", or "task/metric" where there are several tasks."""
    one = len(scored) == 1
    return {k if one else f"{task}/{k}": value for task, metrics in scored.items() for k, value in metrics.items()}
