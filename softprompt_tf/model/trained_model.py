"""A functional Keras model of one frozen T5 of which a prompt alone is trained: what `compile` chooses, and a training step.

Every reported mean is weighted by what it is a mean of.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import PromptError
from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.methods import TaskTable
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.model.compiled_parts import (
    MeanLoss,
    check_can_recompute,
    check_has_targets,
    check_is_not_scaled,
    check_loss,
    check_runs_on_devices,
    check_runs_on_replicas,
    known_metrics,
)
from softprompt_tf.model.loss_terms import LossTerm, bound_terms
from softprompt_tf.model.micro_batches import checked_micro_batch_size, train_step_by_parts
from softprompt_tf.model.prompt_dropout import checked_dropout
from softprompt_tf.model.token_metrics import LabelAccuracy, per_position
from softprompt_tf.model.whole_file_model import WholeFileModel
from softprompt_tf.model.worker_step import check_trains_on_workers, worker_step
from softprompt_tf.workers.cluster import joined

if TYPE_CHECKING:
    from softprompt_tf.texts.text_batches import TextBatches


class TrainedModel(WholeFileModel):
    """What Keras trains of `PromptedT5`, which lends its `t5`, `text_batches` and `labels`."""

    t5: FrozenT5
    labels: tuple[str, ...]
    prompt_table: TaskTable
    sampler: Any
    gradient_checkpointing: bool = False
    micro_batch_size: int | None = None
    prompt_dropout: float = 0.0
    loss_terms: tuple[LossTerm, ...] = ()
    _bound_terms: Sequence[Callable[..., Any]] = ()

    @property
    def text_batches(self) -> "TextBatches":
        """What turns this model's texts into token dictionaries."""
        raise NotImplementedError

    # === Frozen ===

    @property
    def trainable(self) -> bool:
        """Whether the prompt is trained; the T5 never is."""
        return bool(keras.Model.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        self.t5.freeze()

    def make_train_function(self, force: bool = False) -> Any:
        self.t5.check_frozen()
        force = self._has_other_layers("train") or force
        reason = self.t5.training_pass.reason
        if reason and reason != getattr(self, "_told_reason", ""):
            self._told_reason = reason
            warnings.warn(
                f"The prompt is trained through KerasHub's layers, which takes longer than the fused pass, because {reason}.",
                stacklevel=3,
            )
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        return super().make_test_function(self._has_other_layers("test") or force)

    def make_predict_function(self, force: bool = False) -> Any:
        return super().make_predict_function(self._has_other_layers("predict") or force)

    def _has_other_layers(self, function: str) -> bool:
        """Say whether layers of the T5 were changed since a function was last made: its graph is of the layers as they were."""
        now, name = "; ".join((*self.t5.layer_state, f"dropout {self.t5.dropout}")), f"_layers_of_{function}"
        before = getattr(self, name, now)
        setattr(self, name, now)
        return bool(before != now)

    def summary(self, *args: Any, print_fn: Callable[[str], Any] | None = None, **kwargs: Any) -> None:
        """Print what `keras.Model.summary` does, and which pass trains the prompt."""
        super().summary(*args, print_fn=print_fn, **kwargs)
        (print_fn or print)(f" Training pass: {self.t5.training_pass}")

    def _run_through_graph(self, inputs: Any, operation_fn: Any = lambda layer: layer, call_fn: Any = None) -> Any:
        """Run the layers as Keras does, but for `keras.models.clone_model`, which puts new layers in their place."""
        table = getattr(self, "prompt_table", None)
        made = None if table is None else operation_fn(table)
        if isinstance(made, keras.Layer) and made is not table:
            raise PromptError(
                "`clone_model` would give a model of new random weights that knows no texts. Received: a PromptedT5. Make a second "
                "one of the same T5, PromptedT5(model.t5, prompt_tuning(...)), or copy this one by copy.deepcopy(model)."
            )
        return super()._run_through_graph(inputs, operation_fn, call_fn)

    # === Compiling ===

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *,
        sampler: Any = None,
        gradient_checkpointing: bool = False,
        prompt_dropout: float = 0.0,
        micro_batch_size: int | None = None,
        loss_terms: Sequence[LossTerm] = (),
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Compile as any Keras model.

        XLA is off unless asked for: batches are padded to their longest row, and XLA would compile every length again.

        Args:
          metrics, weighted_metrics: Keras metrics, and these by name: "accuracy" (or "acc", "token_accuracy"), "exact_match",
            "label_accuracy".
          sampler: "greedy", "beam", or an object such as `Beam(num_beams=8)`. Default None: `self.sampler` stays.
          gradient_checkpointing: of each layer of the T5 only the input is kept for the gradient, and the layer runs again:
            less memory, more time, the same numbers up to rounding.
          prompt_dropout: share of the values of the prompt's rows that each training step sets to 0, drawn again for each row of
            the batch. Answers, evaluations and files have all values. It follows from the method's seed and the step.
          micro_batch_size: rows of a training batch that run at a time: the activations of so many rows, and the step of
            the complete batch up to rounding. Default None: all rows at once.
          loss_terms: what a training step adds to the loss: `NearText` and `Distillation` of `softprompt_tf.training`. Evaluations
            have the loss alone.

        Raises:
          TrainingError: for micro-batches with dropout, XLA or several replicas; for gradient checkpointing of a T5 with
            dropout, whose second run would drop others; for prompt dropout of a T5 with dropout, or of a method without rows
            in front of the text; for a term that does not go with the model; for XLA or replicas of a T5 on several devices; for
            accumulated gradients or several steps per execution with several replicas.
          ConfigError: for a loss or another metric by name: Keras's own would count padding; for a rate that is no number
            from 0 up to 1.

        Examples:
          >>> model.compile(
          ...     optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), metrics=["label_accuracy"]
          ... )

        Source: Chen et al. 2016, arXiv:1604.06174 (gradient checkpointing).
        """
        if gradient_checkpointing:
            check_can_recompute(self.t5.dropout)
        check_loss(loss)
        check_is_not_scaled(optimizer)
        metrics, weighted_metrics = (known_metrics(each, self._with_labels) for each in (metrics, weighted_metrics))
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, jit_compile=jit_compile, **kwargs)
        # Past Keras's tracking, which would report the loss twice.
        object.__setattr__(self, "_loss_tracker", MeanLoss())
        num_replicas = self.distribute_strategy.num_replicas_in_sync if is_tensorflow() else 1
        check_runs_on_devices(self.t5.placement, jit_compile=self.jit_compile, num_replicas=num_replicas)
        if num_replicas > 1:
            check_runs_on_replicas(
                self.distribute_strategy, self.optimizer, steps_per_execution=self.steps_per_execution
            )
        self.sampler = self.sampler if sampler is None else sampler
        self.gradient_checkpointing = gradient_checkpointing
        self.micro_batch_size = checked_micro_batch_size(
            micro_batch_size,
            prompt_dropout=prompt_dropout,
            jit_compile=self.jit_compile,
            num_replicas=num_replicas,
            t5_dropout=self.t5.dropout,
        )
        self.prompt_dropout = self._checked_dropout(prompt_dropout)
        bound = bound_terms(loss_terms, self, self.optimizer)
        # Past Keras's tracking, which keeps no functions.
        object.__setattr__(self, "loss_terms", tuple(loss_terms))
        object.__setattr__(self, "_bound_terms", bound)

    def _checked_dropout(self, rate: float) -> float:
        has_prompt = bool(rate) and prompt_name(self.prompt_table.tensors()) is not None
        return checked_dropout(rate, has_prompt=has_prompt, t5_dropout=self.t5.dropout, optimizer=self.optimizer)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        by_position = per_position(sample_weight)
        losses = [loss for loss in keras.tree.flatten(self.loss) if hasattr(loss, "weight_of")]
        if losses:
            check_has_targets(y)
        self._loss_tracker.weights.next = losses[0].weight_of(y, by_position) if losses else None
        total = super().compute_loss(x, y, y_pred, by_position, training)
        for term in self._bound_terms if training else ():
            total = total + term(x, y, y_pred, sample_weight)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, per_position(sample_weight))

    def _with_labels(self, metric: LabelAccuracy) -> None:
        def ids(labels: Sequence[str]) -> list[list[int]]:
            return [[i for i in row if i] for row in self.text_batches.target_ids([labels])[0].tolist()]

        metric.bind(self.labels, ids)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build what `compile` left open: the optimizer, and under a strategy the rest.

        An optimizer that is built within the first step makes TensorFlow trace that step twice. Of the rest, Keras would take
        the mean over the replicas' first batches to learn their shapes, which fails where they differ; shapes are known here.
        It would also read a batch of a generator that nobody trains on.
        """
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if self._distribute_strategy is None:
            return
        tokens = {tensor.name: keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in self.inputs}
        targets = keras.KerasTensor((None, None), "int32")
        weights = keras.KerasTensor((None, 1), "float32")
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=(tokens, targets, weights))

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if not config:  # of a model that is not compiled
            return config
        config["gradient_checkpointing"] = self.gradient_checkpointing
        config["prompt_dropout"] = self.prompt_dropout
        config["micro_batch_size"] = self.micro_batch_size
        if self.loss_terms:
            config["loss_terms"] = [keras.saving.serialize_keras_object(term) for term in self.loss_terms]
        if not hasattr(self.sampler, "get_config"):
            return config
        return {**config, "sampler": keras.saving.serialize_keras_object(self.sampler)}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    # === A step ===

    def train_step(self, data: Any, *others: Any) -> Any:
        """Take the step that Keras takes; or that of a batch whose rows run a few at a time, or which several workers share.

        JAX's steps have two arguments: the state, and the data.
        """
        if self.micro_batch_size is not None:
            return train_step_by_parts(self, data, self.micro_batch_size)
        workers = joined()
        if workers is None:
            return super().train_step(data, *others)
        check_trains_on_workers(self)
        return worker_step(self, data, workers)
