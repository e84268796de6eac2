"""Score each prompt of an ensemble and their vote, from one forward pass over the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softprompt_tf.evaluation.asking import TaskAnswers
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.scores import TaskScores, check_rows, score_answers
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

    Raises:
      DataError: if there is no example.

    Warns:
      UserWarning: for each prompt that was trained for another task.

    Examples:
      >>> from softprompt_tf.evaluation import PromptEnsemble, evaluate_ensemble
      >>> from softprompt_tf.tasks import load_task
      >>> ensemble = PromptEnsemble(t5, ["film_1.safetensors", "film_2.safetensors"])
      >>> task = load_task("film.yaml")
      >>> scores = evaluate_ensemble(ensemble, task, task.examples("validation"))
      >>> len(scores.members)
      2
    """
    check_rows(task, examples)
    warn_of_other_tasks(ensemble, task)
    answers, voted = _ask_each(ensemble, task, [example.inputs for example in examples])
    return EnsembleScores(
        members=tuple(score_answers(task, examples, column) for column in zip(*answers, strict=True)),
        ensemble=score_answers(task, examples, voted),
    )


def _ask_each(
    ensemble: PromptEnsemble, task: Task, texts: Sequence[str]
) -> tuple[Sequence[tuple[Any, ...]], TaskAnswers]:
    """Return each text's answers, one for each prompt, and the ensemble's on each text."""
    if task.label_words:
        choices = ensemble.classify_each(texts, labels=task.label_words)
        return choices, [ensemble.decide_label(answers) for answers in choices]
    generations = ensemble.generate_each(texts)
    return generations, [ensemble.decide_text(answers) for answers in generations]
