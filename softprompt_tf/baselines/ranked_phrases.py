"""Rank phrases by how well a task's rows are answered with them; each is a prompt whose rows are its pieces' embeddings.

Source: Jiang et al. 2020, arXiv:1911.12543, section 4 (select prompts by what they reach on known rows, and combine the best).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.baselines.mined_phrases import Phrase
from softprompt_tf.baselines.no_markers import check_has_no_markers
from softprompt_tf.errors import ConfigError
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.learned_mixture import answer_log_likelihoods
from softprompt_tf.evaluation.mixture import likeliest_weights, mixed_logs
from softprompt_tf.evaluation.scores import check_rows
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import PROMPT_OF_POSITION
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, Task

POSITIONS = ("end", "front")


@dataclass(frozen=True)
class RankedPhrase:
    """A phrase, and what it reaches.

    Args:
      phrase: its words and where they come from.
      prompt: the task with the phrase as its prompt, ready to be written or served.
      log_likelihoods: [B] of the rows' right answers, in nats: among the labels for a task with labels.
    """

    phrase: Phrase
    prompt: TaskPrompt
    log_likelihoods: np.ndarray

    @property
    def score(self) -> float:
        """The mean log-likelihood, by which phrases are ranked."""
        return float(self.log_likelihoods.mean())


def rank_phrases(
    t5: FrozenT5, task: Task, phrases: Sequence[Phrase], examples: Sequence[Example], *, position: str = "end"
) -> list[RankedPhrase]:
    """Ask the frozen T5 about rows with each phrase; return the phrases, the best first.

    Args:
      t5: the frozen T5.
      task: its labels, limits and target format are used.
      phrases: the candidates; of those with equal pieces the first is taken.
      examples: the rows.
      position: "end", behind the text, or "front".

    Raises:
      ConfigError: if the position is another, no phrase has a piece, or the task's template has markers.
      DataError: if there is no example, or one's target is no label of a task with labels.

    Examples:
      >>> from softprompt_tf.baselines import Phrase, rank_phrases
      >>> from softprompt_tf.tasks import load_task
      >>> task = load_task("film.yaml")
      >>> phrases = [Phrase("it was", "own"), Phrase("all in all", "own")]
      >>> best = rank_phrases(t5, task, phrases, task.examples("validation"))[0]
      >>> sp.PromptedT5(t5, best.prompt).classify(["a charming film"])[0].labels
      ('negative', 'positive')
    """
    check_has_no_markers(task, "A phrase, which goes in front or behind,")
    check_rows(task, examples)
    if position not in POSITIONS:
        raise ConfigError(f"`position` must be one of {', '.join(POSITIONS)}. Received: position={position!r}.")
    pieces = t5.tokenize([phrase.text for phrase in phrases]) if phrases else []
    distinct = {tuple(ids): phrase for ids, phrase in reversed(list(zip(pieces, phrases, strict=True))) if len(ids)}
    if not distinct:
        raise ConfigError(
            f"A phrase must have a piece of the vocabulary. Received: {counted(len(phrases), 'phrase')}, none with one."
        )
    prompts = {ids: _as_prompt(t5, task, phrase, ids, position) for ids, phrase in distinct.items()}
    logs = _log_likelihoods(t5, task, prompts, examples)
    ranked = [RankedPhrase(phrase, prompts[ids], logs[ids]) for ids, phrase in reversed(distinct.items())]
    return sorted(ranked, key=lambda each: -each.score)


def best_of_one_length(ranked: Sequence[RankedPhrase], *, count: int) -> list[RankedPhrase]:
    """Return the best phrases of one number of pieces, which can be mixed: of the number whose mixture is the likeliest.

    Args:
      ranked: the best first.
      count: how many at most; numbers of pieces that two phrases or more have go first.
    """
    groups: defaultdict[int, list[RankedPhrase]] = defaultdict(list)
    for each in ranked:
        groups[each.prompt.length].append(each)
    best = [group[:count] for group in groups.values()]
    several = [group for group in best if len(group) > 1] or best
    return max(several, key=_mixed_score)


def _mixed_score(group: Sequence[RankedPhrase]) -> float:
    logs = np.stack([each.log_likelihoods for each in group], axis=1)  # [B, N]
    return float(mixed_logs(logs, likeliest_weights(logs)).mean())


def _as_prompt(t5: FrozenT5, task: Task, phrase: Phrase, ids: Sequence[int], position: str) -> TaskPrompt:
    return TaskPrompt(
        tensors={PROMPT_OF_POSITION[position]: t5.embedding_table[list(ids)]},
        task_id=task.name,
        backbone=t5.name,
        backbone_fingerprint=t5.fingerprint,
        tokenizer_fingerprint=t5.tokenizer_fingerprint,
        backbone_hidden_dim=t5.hidden_dim,
        template=task.inputs,
        labels=tuple(task.label_words),
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=task.target_token_limit(t5.tokenize),
        target_format=task.target_format,
        training_config={"phrase": phrase.text, "source": phrase.source},
    )


def _log_likelihoods(
    t5: FrozenT5, task: Task, prompts: dict[tuple[int, ...], TaskPrompt], examples: Sequence[Example]
) -> dict[tuple[int, ...], np.ndarray]:
    """Return pieces -> log-likelihoods [B]; prompts of one length are asked in the same batches."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    for length in sorted({len(ids) for ids in prompts}):
        group = [ids for ids in prompts if len(ids) == length]
        members = [prompts[ids] for ids in group]
        ensemble = PromptEnsemble(t5, members if len(members) > 1 else members * 2)
        logs = answer_log_likelihoods(ensemble, task, examples)  # [B, N]
        found.update(zip(group, logs.T[: len(group)], strict=True))
    return found
