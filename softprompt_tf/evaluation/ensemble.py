"""Several prompts of one task, asked in one forward pass; the majority answers, or their mixture where they have weights.

Every text is asked once per prompt, as rows of one batch, so that the model is loaded, and its weights are read, once.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.evaluation.mixture import mixed_label, mixed_likelihood, mixed_text
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.inference.decoding import Sampler, get_sampler
from softprompt_tf.methods import TaskPrompt, check_members, kept_tensors, load_prompt, mixture_weights
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.model.task_match import TrainedFor
from softprompt_tf.model.task_method import check_fits

Answer = TypeVar("Answer", Classification, Generation, float)


class PromptEnsemble:
    """N prompts of one task, which vote; prompts with weights answer as a mixture, by the weighted mean of their likelihoods.

    Args:
      t5: the frozen T5.
      prompts: two or more prompt files or loaded prompts of one task, with the same tensors and one length, such as those of
        different seeds, or of methods that fold to the same tensors.

    Raises:
      PromptError: if they are fewer than two, or differ in length, labels, limits, template or target format.
      BackboneMismatchError: if one was made for another backbone.

    Examples:
      >>> from softprompt_tf.evaluation import PromptEnsemble
      >>> ensemble = PromptEnsemble(t5, ["film_1.safetensors", "film_2.safetensors"])
      >>> ensemble.num_members  # ensemble.classify(["a charming film"]) asks both, and counts their votes
      2

    Source: Lester et al. 2021, arXiv:2104.08691, section 6 (prompt ensembling, simple majority voting); for weights Qin & Eisner
    2021, arXiv:2104.06599. `learn_mixture` learns them.
    """

    def __init__(self, t5: FrozenT5, prompts: Sequence[str | Path | TaskPrompt]):
        members = [prompt if isinstance(prompt, TaskPrompt) else load_prompt(prompt) for prompt in prompts]
        check_members(members)
        for member in members:
            check_fits(member, t5)
        self.members = tuple(members)
        self.num_members = len(members)
        self.weights = mixture_weights(members)
        self._trained_for = tuple(map(TrainedFor.of, members))
        first = members[0]
        # What they were trained with counts no more: a prompt that `superpos` folded is asked as one of prompt tuning.
        alike = {f"member_{k}": dataclasses.replace(member, method=first.method) for k, member in enumerate(members)}
        method = kept_tensors(alike)
        self._model = PromptedT5(
            t5,
            method,
            labels=first.labels,
            max_input_tokens=first.max_input_tokens,
            max_target_tokens=first.max_target_tokens,
            target_format=first.target_format,
        )

    @property
    def sampler(self) -> Sampler:
        """How `generate_scored` decodes."""
        return self._model.sampler

    @sampler.setter
    def sampler(self, sampler: str | Sampler) -> None:
        self._model.sampler = get_sampler(sampler)

    def trained_for(self, task_id: object = None) -> tuple[TrainedFor, ...]:
        """Return what each prompt says of the task that it was trained for."""
        return self._trained_for

    def classify(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None, task_id: object = None
    ) -> list[Classification]:
        """Choose the label that most prompts choose; of labels with equal votes the one with the highest mean log-probability.

        With weights it is the label with the highest weighted mean of the members' probabilities.

        Args:
          texts: as in `PromptedT5.classify`.
          labels: the label words. Default the prompts'.
          task_id: not used; an ensemble has one task.

        Returns:
          The chosen labels, with the mean of the members' probabilities, by weights where there are some.
        """
        return [self.decide_label(answers) for answers in self.classify_each(texts, labels=labels)]

    def generate_scored(
        self, texts: Sequence[str], *, max_tokens: int | None = None, task_id: object = None
    ) -> list[Generation]:
        """Give the text that most prompts generate; of texts with equal votes the one with the highest mean score.

        With weights it is the text with the highest weighted sum of the likelihoods of those members that generated it.

        Args:
          texts, max_tokens: as in `PromptedT5.generate`.
          task_id: not used; an ensemble has one task.

        Returns:
          The chosen texts, with the mean score of the members that generated them; with weights the log of the weighted sum.
        """
        return [self.decide_text(answers) for answers in self.generate_each(texts, max_tokens=max_tokens)]

    def score(self, texts: Sequence[str], targets: Sequence[str]) -> list[float]:
        """Return the log of the members' mean likelihood of each target given its text, in nats; see `PromptedT5.score`.

        The mean is by weights where there are some.
        """
        answers = self.score_each(texts, targets)
        if self.weights is not None:
            return [mixed_likelihood(row, self.weights) for row in answers]
        return [float(np.logaddexp.reduce(row)) - math.log(self.num_members) for row in answers]

    def score_each(self, texts: Sequence[str], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Return the log-likelihoods of every target given its text, one per prompt."""
        repeated = [target for target in targets for _ in range(self.num_members)]
        return self._ask_all(texts, lambda rows, ids: self._model.score(rows, repeated, task_id=ids))

    def classify_each(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None
    ) -> list[tuple[Classification, ...]]:
        """Return every text's answers, one per prompt."""
        return self._ask_all(texts, lambda rows, ids: self._model.classify(rows, labels=labels, task_id=ids))

    def generate_each(self, texts: Sequence[str], *, max_tokens: int | None = None) -> list[tuple[Generation, ...]]:
        """Return every text's generations, one per prompt."""
        return self._ask_all(
            texts, lambda rows, ids: self._model.generate_scored(rows, max_tokens=max_tokens, task_id=ids)
        )

    def decide_label(self, answers: Sequence[Classification]) -> Classification:
        """Return the answer of the ensemble, of the answers of its members."""
        return vote_for_label(answers) if self.weights is None else mixed_label(answers, self.weights)

    def decide_text(self, answers: Sequence[Generation]) -> Generation:
        """Return the generation of the ensemble, of those of its members."""
        return vote_for_text(answers) if self.weights is None else mixed_text(answers, self.weights)

    def _ask_all(
        self, texts: Sequence[str], ask: Callable[[list[str], list[int]], list[Answer]]
    ) -> list[tuple[Answer, ...]]:
        """Ask [B * N] rows, a text's N rows behind each other; return B tuples of N answers."""
        rows = [text for text in texts for _ in range(self.num_members)]
        answers = ask(rows, list(range(self.num_members)) * len(texts))
        return [tuple(answers[k : k + self.num_members]) for k in range(0, len(answers), self.num_members)]


def vote_for_label(answers: Sequence[Classification]) -> Classification:
    """Return the label that most answers chose, ties by the mean log-probability, with the mean probabilities."""
    labels = answers[0].labels
    logs = np.array([answer.log_probabilities for answer in answers])  # [N, C]
    votes = np.bincount([labels.index(answer.label) for answer in answers], minlength=len(labels))
    mean_logs = np.where(votes == votes.max(), logs.mean(axis=0), -np.inf)
    best = int(np.argmax(mean_logs))
    with np.errstate(divide="ignore"):
        mean = np.log(np.exp(logs).mean(axis=0))
    return Classification(
        label=labels[best], probability=float(np.exp(mean[best])), labels=labels, log_probabilities=tuple(mean.tolist())
    )


def vote_for_text(answers: Sequence[Generation]) -> Generation:
    """Return the text that most answers have, ties by the mean score, with that score."""
    scores: dict[str, list[float]] = {}
    for answer in answers:
        scores.setdefault(answer.text, []).append(answer.score)
    best = max(scores, key=lambda text: (len(scores[text]), sum(scores[text]) / len(scores[text])))
    return Generation(best, sum(scores[best]) / len(scores[best]))
