"""Where the frozen T5 and a method meet: a functional Keras model that trains nothing but the task's tensors.

Strings or token dictionaries enter; `fit` trains, `generate`, `classify` and `score` answer, `save_prompt` keeps the result.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import HiddenStates, goes_inside
from softprompt_tf.errors import PromptError
from softprompt_tf.keras_backend import is_tensorflow, require_tensorflow
from softprompt_tf.methods import PromptMethod, TaskPrompt, injection_of, write_prompt
from softprompt_tf.methods.task_tensors import LABEL_ROWS, prompt_name, text_places
from softprompt_tf.model.answering_model import AnsweringModel
from softprompt_tf.model.kept_task import known_of, values_of_task
from softprompt_tf.model.model_arguments import check_is_dictionary, check_parts, limit_of
from softprompt_tf.model.model_config import config_of, parts_of_config
from softprompt_tf.model.prompt_dropout import PromptDropout, check_t5_drops_nothing
from softprompt_tf.model.prompted_inputs import functional_parts, tuned_outputs
from softprompt_tf.model.step_states import StepStates
from softprompt_tf.model.task_match import TrainedFor
from softprompt_tf.model.task_method import check_has_no_dropout, check_label_rows, method_of, settled, table_of
from softprompt_tf.prompt_places import TextPlaces
from softprompt_tf.replicas import on_tpu
from softprompt_tf.tasks import check_labels, warn_of_labels
from softprompt_tf.typing import Tensor

if TYPE_CHECKING:
    from softprompt_tf.texts.text_batches import TextBatches


@keras.saving.register_keras_serializable("softprompt_tf")
class PromptedT5(AnsweringModel):
    """A frozen T5 with what a method trains for a task, such as a prompt in front of its input.

    Args:
      t5: the frozen T5, as `load_t5` gives it.
      prompt: the method and how it starts (`prompt_tuning(...)`, `prefix_tuning(...)`, of one task or of several), or a trained
        task (`load_prompt(...)`). Default: `prompt_tuning()`.
      labels: the label words of the task, for `classify`. Default: those of a loaded prompt.
      max_input_tokens: where inputs are cut, the end of sequence included. Default 512, or a loaded prompt's.
      max_target_tokens: where targets are cut and generation stops. Default 32, or a loaded prompt's.
      target_format: "text": the decoder writes targets alone; "sentinel": `<extra_id_0>` in front of them, one token more
        than `max_target_tokens`; it never shows in an answer. Default "text", or a loaded prompt's.

    Call arguments:
      A dictionary of int32 tensors: `encoder_token_ids` [B, T], `encoder_padding_mask` [B, T], `decoder_token_ids` [B, U]
      and `decoder_padding_mask` [B, U]; with several tasks also `task_id` [B], the index into `task_ids`. Cached states go
      with them as `encoder_states` [B, T, H] of a float dtype; then the encoder's layers below the task do not run.
      Where rows go elsewhere than in front (`position` of a method), `encoder_token_ids` have a placeholder for each: -1 for
      "marked", -2 for "end". `text_places.tokenize(texts, t5.tokenize)` makes such ids. A row with more or fewer gives NaN.

    Returns:
      Logits float32 [B, U, V]; [B, 1, 1 + C] of a method that trains label rows (`warp`), whose targets are [B, 1], 1 + the label's
      place.

    Raises:
      BackboneMismatchError: where a loaded prompt was made for another backbone.
      PromptError: where two labels are the same to the model.

    Examples:
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.class_labels(["negative", "positive"]))
      >>> model = sp.PromptedT5(t5, prompt, labels=["negative", "positive"])
      >>> [variable.name for variable in model.trainable_variables]
      ['prompt']

      Continue with a saved task, or ask it:

      >>> model = sp.PromptedT5(t5, sp.load_prompt("film.safetensors"))
      >>> model.labels
      ('negative', 'positive')

    Source: Lester et al. 2021, arXiv:2104.08691; Li & Liang 2021, arXiv:2101.00190 (keys and values).
    """

    def __init__(
        self,
        t5: FrozenT5,
        prompt: PromptMethod | TaskPrompt | None = None,
        *,
        labels: Sequence[str] | None = None,
        max_input_tokens: int | None = None,
        max_target_tokens: int | None = None,
        target_format: str | None = None,
        name: str = "prompted_t5",
    ):
        labels = check_parts(t5, labels)
        method, loaded = method_of(prompt, t5)
        method = settled(method.with_labels(loaded.labels if labels is None else labels), t5)
        table = table_of(method, t5)

        inputs, logits = functional_parts(t5, table)
        super().__init__(inputs=inputs, outputs=logits, name=name)
        # The T5's, and not Keras's global one, in whose low precision every weight would be read.
        self.dtype_policy = keras.DTypePolicy(t5.compute_dtype)
        self.t5 = t5
        self.tokenizer = t5.tokenizer
        self.prompt_table = table
        self.method = method
        self.task_ids = method.task_ids
        self.max_input_tokens = limit_of("max_input_tokens", max_input_tokens, loaded.max_input_tokens or 512)
        self.max_target_tokens = limit_of("max_target_tokens", max_target_tokens, loaded.max_target_tokens or 32)
        self.target_format = target_format or loaded.target_format
        given = loaded.labels if labels is None else labels
        self.labels = self._checked_labels(given or method.label_words, self.max_target_tokens)
        check_label_rows(method, self.labels, self._lengths)
        if LABEL_ROWS not in self._lengths:  # else their words are not scored
            warn_of_labels(self.labels, t5.tokenize, max_target_tokens=self.max_target_tokens)
        object.__setattr__(self, "_step_states", StepStates())
        self._trained_for = (TrainedFor.of(prompt),) if isinstance(prompt, TaskPrompt) else ()
        if is_tensorflow():
            _ = self._answerer  # a wrong target format is an error here, and not at the first answer

    @property
    def prompt_variable(self) -> keras.Variable:
        """The rows of the prompt as they are trained: float32 [P, H], or [K, P, H] with several tasks.

        Raises:
          PromptError: if the method trains something else.
        """
        variables = self.prompt_table.variables_by_name
        name = prompt_name(variables)
        if name is None:
            raise PromptError(
                f"This needs the trained rows of a prompt. Received: the method {self.method.name}, which trains "
                f"{', '.join(variables)}. See `model.prompt_table.variables_by_name`."
            )
        return variables[name]

    @property
    def text_places(self) -> TextPlaces:
        """How many rows of a task do not go in front of its texts; `tokenize_examples` takes it."""
        return text_places(self._lengths)

    @cached_property
    def _lengths(self) -> dict[str, int]:
        """Name of each tensor of a task -> its rows, which training does not change."""
        axis = 0 if self.task_ids is None else 1
        return {name: int(value.shape[axis]) for name, value in self.prompt_table.tensors().items()}

    @property
    def text_batches(self) -> "TextBatches":
        """What turns this model's texts into token dictionaries; it needs TensorFlow."""
        require_tensorflow("Texts")
        from softprompt_tf.texts.text_batches import TextBatches, opening_id_of

        opening_id = opening_id_of(self.t5, self.target_format)
        limits = self.max_input_tokens, self.max_target_tokens
        label_words = self.labels if LABEL_ROWS in self._lengths else ()
        return TextBatches(self.t5, *limits, self.task_ids, opening_id, self.text_places, label_words)

    def call(self, inputs: Mapping[str, Tensor], training: bool | None = None, mask: Any = None) -> Tensor:
        check_is_dictionary(inputs)
        is_symbolic = any(isinstance(value, keras.KerasTensor) for value in inputs.values())
        if is_symbolic or (training and self.t5.dropout):
            check_t5_drops_nothing(self.prompt_dropout, self.t5.dropout)
            if not is_symbolic and goes_inside(injection_of(self.prompt_table.tensors())):
                check_has_no_dropout(self.method, self.t5)  # the T5 may have been given dropout since
            return super().call(inputs, training=training, mask=mask)
        is_dropping = bool(training and self.prompt_dropout)
        logits, states = tuned_outputs(
            self.t5,
            self.prompt_table,
            inputs,
            recompute=bool(training) and self.gradient_checkpointing,
            can_branch=not (self.compiled and self.jit_compile) and not on_tpu(),
            drop=self._dropout() if is_dropping else None,
        )
        if training and self._bound_terms:
            self._step_states.keep(logits, states)
        return logits

    def hidden_states(self, logits: Tensor) -> HiddenStates:
        """Return the hidden states of the training pass that gave these logits, for terms of the loss.

        Raises:
          TrainingError: if that was not the last training pass.
        """
        return self._step_states.of(logits)

    def _dropout(self) -> PromptDropout:
        batches = self.optimizer.variables[0]  # their count; `iterations` stays where gradients are accumulated
        return PromptDropout(self.prompt_dropout, seed=self.method.seed, step=batches)

    def make_train_function(self, force: bool = False) -> Any:
        self._trained_for = ()  # from here on a loaded prompt is what it is trained for now
        return super().make_train_function(force)

    def quantize(self, mode: str, *, filters: Any = None, **kwargs: Any) -> None:
        """Quantize the frozen T5's projections as `keras.Model.quantize` does; the prompt stays float32 and alone trainable.

        The embedding table and the head stay as they are: see `FrozenT5.quantize`.
        """
        self.t5.quantize(mode, filters=filters, **kwargs)
        self.train_function = self.test_function = self.predict_function = None
        if is_tensorflow():
            self._answerer.forget_graphs()

    def trained_for(self, task_id: Any = None) -> tuple[TrainedFor, ...]:
        """Return what is known of the task that the prompt for `task_id` was trained for: an entry, or none."""
        if self.task_ids is None:
            return self._trained_for
        return (TrainedFor(task_id),) if isinstance(task_id, str) else ()

    # === Keeping ===

    def prompt_value(self, task_id: str | None = None) -> np.ndarray:
        """Return the rows of one task's prompt, float32 [P, H].

        Raises:
          PromptError: if the task has no such rows.
        """
        tensors = self.task_tensors(task_id)
        name = prompt_name(tensors)
        if name is None:
            _ = self.prompt_variable  # the error, with what the method trains
        return tensors[name or ""]

    def task_tensors(self, task_id: str | None = None) -> dict[str, np.ndarray]:
        """Return one task's tensors by name, float32, as a file keeps them; what a network makes of others is folded."""
        return values_of_task(self.prompt_table, self.task_ids, task_id)

    def task_prompt(self, task_id: str, **fields: Any) -> TaskPrompt:
        """Return the task with all that a file keeps of it; `fields` set what only the caller knows, such as `template`."""
        self.t5.check_frozen()
        known = {**known_of(self), **fields}
        known["labels"] = self._checked_labels(known["labels"], known["max_target_tokens"] or self.max_target_tokens)
        return TaskPrompt(tensors=self.task_tensors(task_id), task_id=task_id, **known)

    def save_prompt(self, path: str | Path, *, task_id: str, **fields: Any) -> None:
        """Write one task's prompt to a `.safetensors` file; `fields` as in `task_prompt`.

        Examples:
          >>> model.save_prompt("film.safetensors", task_id="film", template="{text}")
          >>> sp.load_prompt("film.safetensors").task_id
          'film'
        """
        write_prompt(path, self.task_prompt(task_id, **fields))

    def _checked_labels(self, labels: Sequence[str], limit: int) -> tuple[str, ...]:
        return check_labels(labels, self.t5.tokenize, max_target_tokens=limit, error_type=PromptError)

    def get_config(self) -> dict[str, Any]:
        return config_of(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> "PromptedT5":
        t5, method, settings = parts_of_config(config, custom_objects)
        model = cls(t5, method, **settings)
        t5.await_weights(config.get("t5_fingerprint"))
        if config.get("sampler"):
            model.sampler = keras.saving.deserialize_keras_object(config["sampler"], custom_objects=custom_objects)
        return model
