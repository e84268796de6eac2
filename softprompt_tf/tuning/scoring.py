"""Score candidates on rows of a task; an answer that was asked for once is not asked for again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.evaluation.asking import AnswersTexts, ask
from softprompt_tf.evaluation.scores import TaskScores, score_answers
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.tasks import Example, Task
from softprompt_tf.tasks import score as mean_of_metrics

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Looked:
    """Scores of one candidate's values on some rows."""

    scores: TaskScores
    answers: tuple[Classification | Generation, ...]

    @property
    def score(self) -> float | None:
        """The mean of the metrics; None where one is no number."""
        value = mean_of_metrics(self.scores.metrics)
        return value if math.isfinite(value) else None

    @property
    def log_probability(self) -> float | None:
        """The mean log-probability of the right labels, nats; None without labels."""
        logs = [each.label_log_probabilities for each in self.scores.predictions]
        if any(each is None for each in logs):
            return None
        targets = [each.target for each in self.scores.predictions]
        value = float(np.mean([each[target] for each, target in zip(logs, targets, strict=True)]))  # type: ignore[index]
        return value if math.isfinite(value) else None

    @property
    def one_answer(self) -> str | None:
        """The answer that is given to every row, where there are two different right ones or more."""
        outputs = {each.output for each in self.scores.predictions}
        targets = {each.target for each in self.scores.predictions}
        return outputs.pop() if len(outputs) == 1 and len(targets) > 1 else None


class Scorer:
    """Asks a T5 with a candidate's values; the graphs of one shape of values are traced once.

    Args:
      t5: the frozen T5.
      task: whose labels and metrics are used.
    """

    def __init__(self, t5: FrozenT5, task: Task):
        self._t5, self._task = t5, task
        self._models: dict[tuple[tuple[str, tuple[int, ...]], ...], PromptedT5] = {}

    def model_with(self, values: Values, method: str) -> PromptedT5:
        """Return a model that holds values; good until the next call."""
        key = tuple(sorted((name, value.shape) for name, value in values.items()))
        if key not in self._models:
            task = self._task
            self._models[key] = PromptedT5(
                self._t5,
                TaskPrompt(tensors=values, method=method),
                labels=task.label_words,
                max_input_tokens=task.max_input_tokens,
                max_target_tokens=task.target_token_limit(self._t5.tokenize),
                target_format=task.target_format,
            )
        self._models[key].prompt_table.assign(values)
        return self._models[key]

    def look(self, model: AnswersTexts, examples: Sequence[Example], *, known: Looked | None = None) -> Looked:
        """Ask about rows and score the answers.

        Args:
          model: what answers.
          examples: the rows.
          known: answers to the first ones of them, which are not asked for again.
        """
        answers = () if known is None else known.answers
        texts = [example.inputs for example in examples[len(answers) :]]
        new = tuple(ask(model, self._task, texts)) if texts else ()
        return Looked(score_answers(self._task, examples, (*answers, *new)), (*answers, *new))
