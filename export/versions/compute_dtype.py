"""Load the T5 of an export in the dtype that it shall compute in; for "auto" in bfloat16 where that answers faster and alike."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.export.graph.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.export.graph.served_tasks import MAX_SCORED_TOKENS, affixes_of
from softprompt_tf.export.versions.verify_change import TEXTS
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.precision_choice import AUTO, PRECISIONS, Measured, choose
from softprompt_tf.runs.precision_measurement import timed

MEASURED_TASKS = 3
MEASURED_ROWS = 8


def load_for_export(load: Callable[[str], FrozenT5], dtype: str, prompts: Mapping[str, ServedPrompt]) -> FrozenT5:
    """Return the T5 in a dtype; one T5 is in memory at a time.

    Args:
      load: returns it in "float32" or "bfloat16".
      dtype: one of them, or "auto", which measures both on a small batch of each of the first tasks, and says which one is taken
        and why.
      prompts: of the tasks; of several that vote, the first one is measured.

    Raises:
      BackboneError, PromptFileError, BackboneMismatchError: if the T5 or a prompt cannot be loaded, or they do not fit.
    """
    if dtype == AUTO:
        tasks = [members[0] for members in load_served_prompts(prompts).values()][:MEASURED_TASKS]
        dtype = choose(lambda: [answered(load(each), tasks) for each in PRECISIONS], what="compute dtype").precision
    return load(dtype)


def answered(t5: FrozenT5, tasks: Sequence[TaskPrompt]) -> Measured:
    """Score the labels of each task, or a short answer where it has none, of `MEASURED_ROWS` texts of up to 70 words.

    Returns:
      A batch for each task: its loss is the mean negative log-probability, in nats; its vector are the probabilities.
    """
    asked = [_log_probabilities_of(t5, task) for task in tasks]
    answers, seconds = timed(lambda: [ask() for ask in asked])
    losses = tuple(-float(np.mean(logs)) for logs in answers)
    # Scaled, which changes no cosine, so that small ones do not become 0.
    vectors = tuple(np.exp(logs - np.max(logs)) for logs in answers)
    return Measured(seconds, losses, vectors, "probabilities")


def _log_probabilities_of(t5: FrozenT5, task: TaskPrompt) -> Callable[[], np.ndarray]:
    """Return what computes the log-probabilities of a task's answers, [rows x labels] or [rows], in nats."""
    before, after = affixes_of(task)
    texts = [f"{before}{' '.join([TEXTS[0]] * (1 + number % 4))}{after}" for number in range(MEASURED_ROWS)]
    if task.labels:
        model = PromptedT5(t5, task)
        return lambda: np.ravel([choice.log_probabilities for choice in model.classify(texts)])
    scorer = PromptedT5(t5, dataclasses.replace(task, max_target_tokens=MAX_SCORED_TOKENS))
    return lambda: np.asarray(scorer.score(texts, ["yes"] * len(texts)))
