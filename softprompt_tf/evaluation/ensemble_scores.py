"""An ensemble and a task's rows in, the metrics of each prompt and of their vote out, from one forward pass over the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softprompt_tf.evaluation.ensemble import PromptEnsemble, vote_for_label, vote_for_text
from softprompt_tf.evaluation.evaluation import TaskScores, evaluate_examples
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.model.task_match import warn_of_other_tasks
from softprompt_tf.tasks import Example, Task


@dataclass(frozen=True)
class EnsembleScores:
    """What an ensemble and its members reach on the same rows.

    Args:
      members: the scores of each prompt alone, in their order.
      ensemble: the scores of the vote.
    """

    members: tuple[TaskScores, ...]
    ensemble: TaskScores

    def mean(self) -> dict[str, float]:
        """Return the members' mean of every metric."""
        return {name: sum(values) / len(values) for name, values in self._columns().items()}

    def best(self) -> dict[str, float]:
        """Return the members' highest value of every metric."""
        return {name: max(values) for name, values in self._columns().items()}

    def _columns(self) -> dict[str, list[float]]:
        return {name: [scores.metrics[name] for scores in self.members] for name in self.ensemble.metrics}


def evaluate_ensemble(ensemble: PromptEnsemble, task: Task, examples: Sequence[Example]) -> EnsembleScores:
    """Ask every prompt about every row once; score each prompt and the vote.

    Args:
      ensemble: the prompts.
      task: its label words and metrics are used.
      examples: the rows.

    Warns:
      UserWarning: for each prompt that was trained for another task.
    """
    warn_of_other_tasks(ensemble, task)
    texts = [example.inputs for example in examples]
    if task.label_words:
        choices = ensemble.classify_each(texts, labels=task.label_words)
        columns: list[list[Any]] = [list(column) for column in zip(*choices, strict=True)]
        voted: list[Any] = [vote_for_label(answers) for answers in choices]
    else:
        generations = ensemble.generate_each(texts)
        columns = [list(column) for column in zip(*generations, strict=True)]
        voted = [vote_for_text(answers) for answers in generations]
    members = tuple(evaluate_examples(_Given(column), task, examples) for column in columns)
    return EnsembleScores(members=members, ensemble=evaluate_examples(_Given(voted), task, examples))


@dataclass(frozen=True)
class _Given:
    """Answers that are there already, in the form in which `evaluate_examples` asks for them."""

    answers: list[Any]

    def classify(self, texts: Sequence[str], **_: Any) -> list[Classification]:
        return self.answers

    def generate_scored(self, texts: Sequence[str], **_: Any) -> list[Generation]:
        return self.answers
