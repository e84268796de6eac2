"""Train candidates of a search: those of one group in the same steps, from cached states where their rows enter late."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.backbones import EOS_ID, FrozenT5
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.model.task_method import settled, table_of
from softprompt_tf.runs.run_states import RunBatches, answers_on_states
from softprompt_tf.states.model_states import default_dtype
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.tasks import BatchStream, Example, TokenizedExamples, sample, tokenize_examples
from softprompt_tf.training import Adafactor, KeepBestPrompt, PromptCheckpoint, TargetCrossEntropy
from softprompt_tf.training.callbacks import steps_done
from softprompt_tf.training.fit import Batches
from softprompt_tf.training.together import Step, train_together
from softprompt_tf.training.together_entry import Candidate, Entry
from softprompt_tf.tuning.leg_rate import LegRate
from softprompt_tf.tuning.recipes import ADAM, Recipe
from softprompt_tf.tuning.record import Part
from softprompt_tf.tuning.rows import TuneRows
from softprompt_tf.tuning.watch import Watch

BATCH_SIZE = 32
MOST_TOGETHER = 8
MOST_STATES = (
    2**26
)  # values of the encoder's states in one step, of all layers; about ten times as many are kept: 2.7 GB
_NEVER = 2**62


@dataclass(frozen=True)
class _Entrant:
    """One candidate with what trains of it."""

    recipe: Recipe
    candidate: Candidate
    rate: LegRate


class Trainer:
    """Holds the candidates of a search while they train.

    Args:
      t5: the frozen T5.
      rows: of the task.
      seed: of the first values and the order of the rows, the same for all candidates.
      directory: of their checkpoints.
      late_rows: so many training rows at most are encoded for candidates that train on cached states.
    """

    def __init__(self, t5: FrozenT5, rows: TuneRows, *, seed: int, directory: Path, late_rows: int = 0):
        self._t5, self._rows, self._seed, self._directory = t5, rows, seed, directory
        self.late_rows = late_rows
        self._entrants: dict[int, _Entrant] = {}
        self._traced: dict[tuple[int, ...], Step] = {}
        self._answers: dict[tuple[PromptedT5, tuple[str, ...]], AnswersTexts] = {}
        self._loss = TargetCrossEntropy()

    @functools.cached_property
    def stream(self) -> BatchStream:
        """The batches of all training rows, without states."""
        return self._stream_of(self._rows.train)

    @functools.cached_property
    def mean_tokens(self) -> float:
        """The mean length of a training row, in tokens."""
        return float(np.mean([len(ids) for ids in self.stream.examples.encoder_token_ids]))

    def together(self, length: int) -> int:
        """Return how many candidates of a length may share a step, by what their states take of the memory."""
        tokens = self.stream.examples.encoder_token_ids
        return together(length + max(map(len, tokens)), self._t5.sizes)

    def values(self, recipe: Recipe) -> dict[str, np.ndarray]:
        """Return a candidate's tensors as they are now, as a task file keeps them."""
        tensors = self._entrant(recipe).candidate.prompt_table.tensors()
        return {name: np.asarray(value, np.float32) for name, value in tensors.items()}

    def steps_of(self, recipe: Recipe) -> int:
        """Return how many steps a candidate has taken."""
        return steps_done(self._entrant(recipe).candidate)

    def is_traced(self, recipes: Sequence[Recipe]) -> bool:
        """Return whether the step of these candidates has been traced."""
        return tuple(id(self._entrant(recipe).candidate) for recipe in recipes) in self._traced

    def answers(self, model: PromptedT5, recipe: Recipe, examples: Sequence[Example]) -> AnswersTexts:
        """Return what answers rows: the model, or where the encoder does not know the task, the model on cached states."""
        if not recipe.on_states:
            return model
        key = (model, tuple(example.inputs for example in examples))
        if key not in self._answers:  # it has graphs of its own
            self._answers[key] = answers_on_states(model, self._cache, examples)
        return self._answers[key]

    def train(
        self,
        recipes: Sequence[Recipe],
        part: Part,
        *,
        watch: Watch,
        is_late: Callable[[], bool],
        checkpoint_every: int,
        is_kept: bool = True,
    ) -> dict[int, SoftPromptError | None]:
        """Train some candidates of one group for a part of a leg; each goes on from its checkpoint, if it has one.

        Args:
          recipes: of the candidates.
          part: the steps.
          watch: shows them.
          is_late: whether the part ends now.
          checkpoint_every: steps between two checkpoints.
          is_kept: whether checkpoints are written.

        Returns:
          Number -> why a candidate cannot go on, or None.
        """
        entries = []
        for recipe in recipes:
            entrant, first = self._entrant(recipe), part.done[part.candidates.index(recipe.number)]
            start = first + part.after
            entrant.rate.begin(first, start, part.steps, progress=part.progress, warm_up_steps=part.warm_up_steps)
            checkpoint = PromptCheckpoint(
                self._directory / f"candidate-{recipe.number}" if is_kept else None,
                seed=self._seed,
                every_steps=checkpoint_every,
                config_digest=_digest(recipe),
                share=1 / len(recipes),
            )
            keep_best = KeepBestPrompt(None, every_steps=_NEVER)
            entries.append(Entry(entrant.candidate, self._batches(recipe), keep_best, checkpoint, start + part.steps))
        train_together(self._t5, entries, self._loss, report=watch, is_late=is_late, traced=self._traced)
        return {recipe.number: entry.error for recipe, entry in zip(recipes, entries, strict=True)}

    def start_again(self, recipe: Recipe) -> None:
        """Give a candidate its first values and an unused optimizer; its traced step stays."""
        entrant, fresh = self._entrant(recipe), self._made(recipe)
        pairs = (
            (entrant.candidate.variables, fresh.candidate.variables),
            (entrant.candidate.optimizer.variables, fresh.candidate.optimizer.variables),
        )
        for old, new in pairs:
            for variable, value in zip(old, new, strict=True):
                variable.assign(value)

    # === What candidates are made of ===

    def _entrant(self, recipe: Recipe) -> _Entrant:
        if recipe.number not in self._entrants:
            self._entrants[recipe.number] = self._made(recipe)
        return self._entrants[recipe.number]

    def _made(self, recipe: Recipe) -> _Entrant:
        task = self._rows.task
        method = settled(recipe.make(task.name, task.label_words, seed=self._seed), self._t5)
        rate = LegRate(recipe.rate, recipe.schedule)
        optimizer = keras.optimizers.Adam(rate) if recipe.optimizer == ADAM else Adafactor(rate)
        candidate = Candidate(table_of(method, self._t5), optimizer)
        return _Entrant(recipe, candidate, rate)

    def _batches(self, recipe: Recipe) -> Batches:
        if not recipe.on_states:
            return self.stream
        return RunBatches(self._late_stream, self._cache, pad_to_multiple_of=1, with_task_id=False)

    @functools.cached_property
    def _late_stream(self) -> BatchStream:
        return self._stream_of(sample(self._rows.train, max(self.late_rows, BATCH_SIZE), seed=self._seed))

    def _stream_of(self, examples: Sequence[Example]) -> BatchStream:
        return BatchStream(self._tokenized(examples), batch_size=min(BATCH_SIZE, len(examples)), seed=self._seed)

    def _tokenized(self, examples: Sequence[Example]) -> TokenizedExamples:
        task, t5 = self._rows.task, self._t5
        return tokenize_examples(
            examples,
            t5.tokenize,
            max_input_tokens=task.max_input_tokens,
            max_target_tokens=task.target_token_limit(t5.tokenize),
            eos_id=EOS_ID,
            opening_id=self._opening_id,
        )

    @property
    def _opening_id(self) -> int:
        from softprompt_tf.texts.text_batches import opening_id_of

        return opening_id_of(self._t5, self._rows.task.target_format)

    @functools.cached_property
    def _cache(self) -> StateCache:
        behind_encoder = None
        directory = self._directory / "states"
        return StateCache(self._t5, behind_encoder, dtype=default_dtype(self._t5), spill_directory=directory)


def together(width: int, sizes: BackboneSizes) -> int:
    """Return how many candidates may share a step on inputs of a width, the prompt's rows included."""
    states = BATCH_SIZE * width * sizes.hidden_dim * (sizes.encoder_layers + 1)
    return max(1, min(MOST_TOGETHER, MOST_STATES // states))


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(json.dumps(recipe.to_json(), sort_keys=True).encode()).hexdigest()[:16]
