"""Learn how much each prompt of an ensemble counts, from rows with their right answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.errors import DataError
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.mixture import likeliest_weights, mixed_logs
from softprompt_tf.evaluation.scores import check_rows
from softprompt_tf.methods import TaskPrompt, with_weight
from softprompt_tf.model.task_match import warn_of_other_tasks
from softprompt_tf.tasks import Example, Task


@dataclass(frozen=True)
class LearnedMixture:
    """Prompts with their weights, and the mean log-likelihoods of the rows' right answers, in nats.

    Args:
      members: the prompts, each with its weight. An ensemble of them answers as the mixture.
      weights: one for each, of sum 1.
      log_likelihood: of the mixture.
      of_equal_weights: of the mixture with equal weights.
      of_members: of each prompt alone.
    """

    members: tuple[TaskPrompt, ...]
    weights: tuple[float, ...]
    log_likelihood: float
    of_equal_weights: float
    of_members: tuple[float, ...]


def learn_mixture(ensemble: PromptEnsemble, task: Task, examples: Sequence[Example]) -> LearnedMixture:
    """Find the weights of an ensemble's prompts that give the right answers the highest likelihood.

    For a task with labels it is the likelihood among the labels, else that of the target's tokens. Rows that the prompts were not
    trained on, such as the dev split's, tell how much each can be trusted.

    Args:
      ensemble: the prompts; weights that they have already are not used.
      task: its label words are used.
      examples: the rows.

    Raises:
      DataError: if there is no example, or one's target is no label of a task with labels.

    Warns:
      UserWarning: for each prompt that was trained for another task.

    Examples:
      >>> from softprompt_tf.evaluation import PromptEnsemble, learn_mixture
      >>> from softprompt_tf.tasks import load_task
      >>> ensemble = PromptEnsemble(t5, ["film_1.safetensors", "film_2.safetensors"])
      >>> task = load_task("film.yaml")
      >>> mixture = learn_mixture(ensemble, task, task.examples("validation"))
      >>> round(sum(mixture.weights), 6)
      1.0
      >>> answers = PromptEnsemble(t5, mixture.members).classify(["a charming film"])

    Source: Qin & Eisner 2021, arXiv:2104.06599. There, weights and prompts are trained together.
    """
    check_rows(task, examples)
    warn_of_other_tasks(ensemble, task)
    logs = answer_log_likelihoods(ensemble, task, examples)
    weights = likeliest_weights(logs)
    equal = np.full_like(weights, 1 / len(weights))
    pairs = zip(ensemble.members, weights.tolist(), strict=True)
    return LearnedMixture(
        members=tuple(with_weight(member, weight) for member, weight in pairs),
        weights=tuple(weights.tolist()),
        log_likelihood=float(mixed_logs(logs, weights).mean()),
        of_equal_weights=float(mixed_logs(logs, equal).mean()),
        of_members=tuple(logs.mean(axis=0).tolist()),
    )


def answer_log_likelihoods(ensemble: PromptEnsemble, task: Task, examples: Sequence[Example]) -> np.ndarray:
    """Return the log-likelihood of each row's right answer under each prompt, float64 [B, N], in nats.

    Raises:
      DataError: if a target is no label of a task with labels.
    """
    texts, targets = [example.inputs for example in examples], [example.target for example in examples]
    if not task.label_words:
        return np.array(ensemble.score_each(texts, targets), np.float64)
    words = list(task.label_words)
    wrong = next((example for example in examples if example.target not in words), None)
    if wrong is not None:
        raise DataError(
            f"A row's target must be one of the labels {words}. Received: {wrong.target!r} at {wrong.row.location}."
        )
    each = ensemble.classify_each(texts, labels=words)
    logs = np.array([[answer.log_probabilities for answer in row] for row in each], np.float64)  # [B, N, C]
    return logs[np.arange(len(logs)), :, [words.index(target) for target in targets]]
