"""Train prompts one after the other on one frozen T5.

Runs that differ in nothing but their seed and their first values share a model, so that its graphs are traced once. A run
that was killed goes on from its checkpoint.
"""

import functools
import json
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.config import RunConfig
from softprompt_tf.errors import TrainingError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.methods import TaskPrompt, Vocabulary, load_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.configured import build_model, prompt_method, training_batches
from softprompt_tf.runs.run_states import RunBatches, answers_on_states, run_state_cache
from softprompt_tf.runs.task_data import TaskData
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.training import TrainingResult, train_prompt

_MODELS = 16  # kept with their graphs


@dataclass(frozen=True)
class TrialRecord:
    """What a finished trial leaves in trial.json beside its prompt.

    Args:
      metrics: task -> metrics on its dev rows.
      step: of the prompt or the weights.
      seconds: of training and evaluating, those before a restart included.
      seconds_per_step: median.
    """

    metrics: dict[str, dict[str, float]]
    step: int
    seconds: float
    seconds_per_step: float


class PromptTuner:
    """Trains prompts over one T5.

    Args:
      t5: the frozen T5.
      strategy: under which the T5 was loaded. Default: the one in effect.
    """

    def __init__(self, t5: FrozenT5, *, strategy: tf.distribute.Strategy | None = None):
        self.t5 = t5
        self._strategy = strategy or tf.distribute.get_strategy()
        self._models: OrderedDict[str, tuple[PromptedT5, list[np.ndarray]]] = OrderedDict()
        self._caches: dict[tuple[int | None, str, str | None], StateCache] = {}
        self._task_of_states: str | None = None

    def tune(self, config: RunConfig, data: TaskData, *, run_digest: str) -> tuple[PromptedT5, TrialRecord]:
        """Train a prompt, or load the one that was trained; `config.output_dir` holds prompt.safetensors and trial.json then.

        Args:
          config: of one task, whose rows `data` has.
          data: the rows.
          run_digest: the trial's settings in short; a checkpoint of others is refused.

        Returns:
          The model with the prompt that did best on the dev rows, good until the next call, and the record.
        """
        directory = Path(config.output_dir)
        model = self.model_of(config, data)
        record = read_record(directory)
        if record is None:
            record = self._train(model, config, data, run_digest)
        else:
            model = self._holding(model, load_prompt(directory / "prompt.safetensors"))
        shutil.rmtree(directory / "checkpoints", ignore_errors=True)  # a finished trial needs them no more
        return model, record

    def model_of(self, config: RunConfig, data: TaskData) -> PromptedT5:
        """Return a model as the config's run starts with it: the first values of the prompt, and an unused optimizer."""
        not_of_the_model: Any = {"output_dir": True, "prompt": {"init"}}
        if config.training.optimizer != "autoprompt" and not config.training.prompt_dropout:  # these have the seed
            not_of_the_model["seed"] = True
        key = config.model_dump_json(exclude=not_of_the_model)
        if key not in self._models:
            with self._strategy.scope():
                model = build_model(self.t5, config, [data.task])
                model.optimizer.build(model.trainable_variables)
            self._models[key] = (model, [np.array(variable.numpy()) for variable in model.optimizer.variables])
            if len(self._models) > _MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        model, unused = self._models[key]
        vocabulary = Vocabulary(
            self.t5.embedding_table,
            self._tokenize_one,
            self.t5.tokenizer.vocabulary_size(),
            output_embeddings=lambda: self.t5.output_embeddings,
        )
        model.prompt_table.assign(prompt_method(config, [data.task]).start(vocabulary, self.t5.sizes))
        for variable, value in zip(model.optimizer.variables, unused, strict=True):
            variable.assign(value)
        for number, variable in enumerate(v for v in model.variables if v.name == "seed_generator_state"):
            variable.assign(
                [config.seed % 2**32, number]
            )  # dropout, where a backbone has it, is that of the seed alone
        return model

    def states_of(self, model: PromptedT5, config: RunConfig, data: TaskData) -> StateCache | None:
        """Return the cache that runs of one task share; None where theirs is off, or the whole encoder knows the task."""
        cache = run_state_cache(model, config)
        if cache is None:
            return None
        if self._task_of_states != data.task.name:
            self._caches.clear()
        self._task_of_states = data.task.name
        return self._caches.setdefault((cache.layer, cache.dtype, config.training.states_directory), cache)

    def _holding(self, model: PromptedT5, task: TaskPrompt) -> PromptedT5:
        """Return a model that holds a trained task: this one, or, where its variables are not the task's tensors, another one."""
        if model.method.settings() or set(task.tensors) != set(model.prompt_table.variables_by_name):
            return PromptedT5(self.t5, task)
        model.prompt_table.assign(task.tensors)
        return model

    def _tokenize_one(self, text: str) -> list[int]:
        return self.t5.tokenize([text])[0]

    def _train(self, model: PromptedT5, config: RunConfig, data: TaskData, run_digest: str) -> TrialRecord:
        directory, training = Path(config.output_dir), config.training
        cache = self.states_of(model, config, data)
        answers = functools.cache(lambda: answers_on_states(model, cache, data.validation))
        result = train_prompt(
            model,
            self.batches_of(model, cache, config, data),
            steps=training.steps,
            seed=config.seed,
            evaluate=lambda: evaluate_examples(answers(), data.task, data.validation).metrics,
            evaluate_every=training.evaluate_every,
            patience=training.early_stopping_patience,
            checkpoint_dir=directory / "checkpoints",
            checkpoint_every=training.checkpoint_every,
            config_digest=run_digest,
        )
        return self.keep(model, config, data, result)

    def batches_of(self, model: PromptedT5, cache: StateCache | None, config: RunConfig, data: TaskData) -> RunBatches:
        """Return a run's training batches, on states where there is a cache."""
        plain = training_batches(self.t5, model, [data], config)
        return RunBatches(plain, cache, pad_to_multiple_of=config.training.pad_to_multiple_of, with_task_id=False)

    def keep(self, model: PromptedT5, config: RunConfig, data: TaskData, result: TrainingResult) -> TrialRecord:
        """Write the prompt that a model holds and the record of how it was trained."""
        directory = Path(config.output_dir)
        record = TrialRecord(
            metrics={data.task.name: result.chosen.metrics},
            step=result.chosen.step,
            seconds=result.seconds,
            seconds_per_step=result.seconds_per_step,
        )
        model.save_prompt(
            directory / "prompt.safetensors",
            task_id=data.task.name,
            template=data.task.inputs,
            metrics=record.metrics[data.task.name],
            training_config=config.model_dump(mode="json"),
        )
        write_record(directory, record)
        return record


def read_record(directory: Path) -> TrialRecord | None:
    """Return what a finished trial left, None where it is not finished.

    Raises:
      TrainingError: if the file is damaged.
    """
    path = directory / "trial.json"
    if not path.is_file():
        return None
    try:
        return TrialRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} must be a whole record of a trial. Received: {error}. Remove its folder."
        ) from error


def write_record(directory: Path, record: TrialRecord) -> None:
    """Say that a trial is finished; goes last."""
    content = json.dumps(record.__dict__, indent=2) + "\n"
    write_atomically(directory / "trial.json", content.encode("utf-8"), error_type=TrainingError)
