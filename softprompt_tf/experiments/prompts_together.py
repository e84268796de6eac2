"""Prompts of a sweep that share their steps: which of its trials can, and how each is left as if it had trained alone."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.config import RunConfig
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.experiments.prompt_tuner import PromptTuner
from softprompt_tf.experiments.trials import Trial
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.model.task_method import settled, table_of
from softprompt_tf.runs.configured import make_optimizer, prompt_method
from softprompt_tf.runs.run_states import answers_on_states
from softprompt_tf.runs.task_data import TaskData
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.training import KeepBestPrompt, PromptCheckpoint
from softprompt_tf.training.fit import locked_checkpoints
from softprompt_tf.training.together import train_together
from softprompt_tf.training.together_entry import Candidate, Entry

MOST_TOGETHER = 8
_OF_THE_OPTIMIZER = ("optimizer", "learning_rate", "schedule", "cycles", "warmup_steps", "weight_decay", "initial_step")


def partners(trial: Trial, others: Sequence[Trial], config_of: Callable[[Trial], RunConfig]) -> list[Trial]:
    """Return those of other trials whose prompts may train at once with this one's; none where it trains none or has one.

    They differ from it in nothing but seed, first values and the optimizer's settings.
    """
    shared = _shared_settings(trial, config_of)
    return [] if shared is None else [other for other in others if _shared_settings(other, config_of) == shared]


def tune_together(
    tuner: PromptTuner,
    configs: Sequence[RunConfig],
    data: TaskData,
    *,
    run_digests: Sequence[str],
    most: int | None = None,
) -> list[SoftPromptError | None]:
    """Train the prompts of `partners` at once and leave each as `tuner.tune` does; or do nothing.

    Each goes on from its own checkpoint, if it has one. Nothing is done where steps cannot be shared: under a distribution
    strategy, on a T5 with dropout, or, without `most`, where the whole encoder knows the task, so that shared steps would save
    little and take much memory.

    Args:
      tuner: has the T5.
      configs: of trials that are `partners`.
      data: the rows of all of them.
      run_digests: of each, as in `tuner.tune`.
      most: how many train at once at most. Default: `MOST_TOGETHER` on cached states, else one.

    Returns:
      For each config that was trained, the first ones, why it has no prompt, or None.
    """
    model = tuner.model_of(configs[0], data)
    cache = tuner.states_of(model, configs[0], data)
    most = most if most is not None else 1 if cache is None else MOST_TOGETHER
    chosen = list(zip(configs, run_digests, strict=True))[:most]
    training = configs[0].training
    is_alone = training.strategy != "default" or training.micro_batch_size is not None
    if len(chosen) < 2 or tuner.t5.dropout or is_alone:
        return []
    shared = _Shared(tuner, model, cache, data, share=1 / len(chosen))
    with contextlib.ExitStack() as stack:
        for config, _ in chosen:
            stack.enter_context(locked_checkpoints(_checkpoints(config)))
        entries = [shared.entry(config, run_digest) for config, run_digest in chosen]
        recompute = configs[0].training.gradient_checkpointing
        results = train_together(tuner.t5, entries, model.loss, recompute=recompute)
    for entry, (config, _), result in zip(entries, chosen, results, strict=True):
        if entry.error is None:
            model.prompt_table.assign(entry.candidate.values())
            tuner.keep(model, config, data, result)
    return [entry.error for entry in entries]


@dataclass(frozen=True)
class _Shared:
    """What prompts that train at once have in common.

    Args:
      tuner: has the T5.
      model: is lent to each of them for its answers.
      cache: of states; None: there are none.
      data: the rows.
      share: of the time that passes, what each of them takes.
    """

    tuner: PromptTuner
    model: PromptedT5
    cache: StateCache | None
    data: TaskData
    share: float

    @functools.cached_property
    def _answers(self) -> AnswersTexts:
        return answers_on_states(self.model, self.cache, self.data.validation)

    def entry(self, config: RunConfig, run_digest: str) -> Entry:
        """Return what trains of one config."""
        training, t5 = config.training, self.tuner.t5
        table = table_of(settled(prompt_method(config, [self.data.task]), t5), t5)
        candidate = Candidate(table, make_optimizer(training))

        def evaluate() -> dict[str, float]:
            self.model.prompt_table.assign(candidate.values())
            return evaluate_examples(self._answers, self.data.task, self.data.validation).metrics

        keep_best = KeepBestPrompt(
            evaluate,
            every_steps=training.evaluate_every,
            patience=training.early_stopping_patience,
            last_step=training.steps,
        )
        checkpoint = PromptCheckpoint(
            _checkpoints(config),
            every_steps=training.checkpoint_every,
            seed=config.seed,
            config_digest=run_digest,
            keep_best=keep_best,
            share=self.share,
        )
        batches = self.tuner.batches_of(self.model, self.cache, config, self.data)
        return Entry(candidate, batches, keep_best, checkpoint, training.steps)


def _checkpoints(config: RunConfig) -> Path:
    return Path(config.output_dir) / "checkpoints"


def _shared_settings(trial: Trial, config_of: Callable[[Trial], RunConfig]) -> tuple[Any, ...] | None:
    """Return what trials must have in common; None for one that trains no prompt or has its prompt."""
    if trial.arm != "prompt_tuning":
        return None
    config = config_of(trial)
    training = config.training
    if training.optimizer == "autoprompt" or training.prompt_dropout or training.near_text or training.distill_from:
        return None
    if (Path(config.output_dir) / "trial.json").exists():
        return None
    own: Any = {"seed": True, "output_dir": True, "prompt": {"init"}, "training": set(_OF_THE_OPTIMIZER)}
    return config.model_dump_json(exclude=own), trial.settings.rows
