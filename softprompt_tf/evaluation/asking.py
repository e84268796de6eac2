"""Ask a model about a task's texts. Nothing is scored here."""

from collections.abc import Sequence
from typing import Any, Protocol

from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.tasks import Task
from softprompt_tf.tasks.task import TARGET_TOKENS_WITHOUT_LABELS

TaskAnswers = Sequence[Classification | Generation]
"""One answer for each text: a label for a task with labels, else a text."""


class AnswersTexts(Protocol):
    """A model that can be asked: `PromptedT5`, `PromptEnsemble` and a bare `Answerer` are such."""

    def classify(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None, task_id: Any = None
    ) -> list[Classification]: ...

    def generate_scored(
        self, texts: Sequence[str], *, max_tokens: int | None = None, task_id: Any = None
    ) -> list[Generation]: ...


def ask(model: AnswersTexts, task: Task, texts: Sequence[str], *, task_id: str | None = None) -> TaskAnswers:
    """Return the likeliest label of each text for a task with labels, else a generated text.

    Args:
      model: what answers.
      task: whose label words are used.
      texts: what the model reads, as `Example.inputs` has it.
      task_id: the task's name in a model of several prompts, else None.

    Examples:
      >>> from softprompt_tf.evaluation import ask
      >>> from softprompt_tf.tasks import load_task
      >>> ask(model, load_task("film.yaml"), ["a charming film"])[0].label
      'positive'
    """
    if task.label_words:
        return model.classify(texts, labels=task.label_words, task_id=task_id)
    # A model of several tasks has one limit, that of its longest answers; a task's own prompt has the task's.
    max_tokens = None if task_id is None else task.max_target_tokens or TARGET_TOKENS_WITHOUT_LABELS
    return model.generate_scored(texts, max_tokens=max_tokens, task_id=task_id)
