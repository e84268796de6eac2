"""Share texts among the workers of a training: each answers its part, and all have all answers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.workers import joined


def shared_answers(model: AnswersTexts) -> AnswersTexts:
    """Return what answers texts together with all workers; where one process trains alone, the model itself."""
    return model if joined() is None else SharedAnswers(model)


class SharedAnswers:
    """Asks a model for this worker's part of the texts and gathers the other answers. All workers ask the same texts.

    Args:
      model: this worker's, equal to that of the others.
    """

    def __init__(self, model: AnswersTexts):
        self._model = model

    def classify(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None, task_id: Any = None
    ) -> list[Classification]:
        """Choose the likeliest label of each text, as the model does."""
        values = _gathered(texts, lambda part: self._model.classify(part, labels=labels, task_id=task_id))
        listed = [{**each, "labels": tuple(each["labels"])} for each in values]
        return [Classification(**{**each, "log_probabilities": tuple(each["log_probabilities"])}) for each in listed]

    def generate_scored(
        self, texts: Sequence[str], *, max_tokens: int | None = None, task_id: Any = None
    ) -> list[Generation]:
        """Answer texts with texts and their scores, as the model does."""

        def answer(part: Sequence[str]) -> Sequence[Generation]:
            return self._model.generate_scored(part, max_tokens=max_tokens, task_id=task_id)

        return [Generation(**each) for each in _gathered(texts, answer)]


def _gathered(texts: Sequence[str], answer: Callable[[Sequence[str]], Sequence[Any]]) -> list[dict[str, Any]]:
    workers = joined()
    if workers is None:
        return [dataclasses.asdict(each) for each in answer(texts)]
    own = list(texts)[workers.rank :: workers.size]
    parts = workers.exchange([dataclasses.asdict(each) for each in answer(own)] if own else [])
    return [parts[row % workers.size][row // workers.size] for row in range(len(texts))]
