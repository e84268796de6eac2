"""Plan what training and serving a method on a T5 takes, before anything is loaded: bytes by part, operations and seconds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.method import PromptMethod
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.resource_plan.backbone_form import BackboneForm
from softprompt_tf.resource_plan.device_weights import device_weights
from softprompt_tf.resource_plan.fitting import Fit, fit_to
from softprompt_tf.resource_plan.given_bytes import as_bytes
from softprompt_tf.resource_plan.injected import Injected, injected_by
from softprompt_tf.resource_plan.memory import DTYPE_BYTES, FLOAT32, QUANTIZATIONS, memory_parts
from softprompt_tf.resource_plan.operations import forward_operations, step_operations
from softprompt_tf.resource_plan.source_form import form_of
from softprompt_tf.resource_plan.work import Work
from softprompt_tf.settings.spelling import nearest_method

OPTIMIZERS = ("adafactor", "adam", "schedule_free_adam", "prodigy")
_TWO_LABELS = ("negative", "positive")  # of a method by its name, where it trains rows for labels
_FILE_METADATA = 2_000  # settings and identity in a task file


@dataclass(frozen=True, kw_only=True)
class ResourcePlan:
    """What a training process, its files and a request take.

    Attributes:
      backbone: the T5's name.
      method: the method's name.
      parameters: values of the T5's weights.
      trained: values that are trained for one task.
      memory: part -> bytes of the training process.
      task_file_bytes: of the file of one trained task.
      served_table_bytes: of the tables of `served_tasks` tasks in an export.
      step_operations: floating point operations of one training step (2 for each multiplication with addition).
      served_row_operations: of one request row with an answer of `target_tokens` tokens.
      seconds_per_step: None where no rate is known.
      fit: whether it fits into `memory_limit`, and what would; None where no limit is given.
      settings: what was planned.
      device_weights: bytes of the weights on each of `devices`; None for one device.
    """

    backbone: str
    method: str
    parameters: int
    trained: int
    memory: Mapping[str, int]
    task_file_bytes: int
    served_table_bytes: int
    step_operations: int
    served_row_operations: int
    seconds_per_step: float | None
    fit: Fit | None
    settings: Mapping[str, Any]
    device_weights: tuple[int, ...] | None = None

    @property
    def total_bytes(self) -> int:
        """The peak of the training process, above what Python and its libraries take before a model is loaded."""
        return sum(self.memory.values())


def plan(
    backbone: Any,
    method: PromptMethod | str = "prompt_tuning",
    *,
    batch_size: int = 32,
    input_tokens: int = 512,
    target_tokens: int = 32,
    dtype: str | None = None,
    quantization: str | None = None,
    gradient_checkpointing: bool = False,
    micro_batch_size: int | None = None,
    cached_states: bool | str = False,
    optimizer: str = "adafactor",
    served_tasks: int = 1,
    devices: int | None = None,
    memory: int | str | None = None,
    flops_per_second: float | None = None,
) -> ResourcePlan:
    """Plan the memory and the work of training a method on a T5. No weight is loaded, so any size can be planned.

    Args:
      backbone: a size ("small" to "xxl" of T5 1.1, "mt5_xl"), a bundled name, a KerasHub preset, a checkpoint's folder, or a T5
        from `load_t5`.
      method: a method, or the name of one with its own defaults.
      batch_size: B, rows of a step.
      input_tokens: T, of the longest text in a batch. What a method puts in front is added.
      target_tokens: U, of the longest target.
      dtype: "float32" or "bfloat16". Default float32, or that of a loaded T5.
      quantization: None, or "int8" or "int4" for the projections.
      gradient_checkpointing, micro_batch_size: as in `compile`.
      cached_states: as in `fit`: the encoder's layers below the method do not run. "auto": where that is possible, as in a run.
      optimizer: "adafactor", "adam", "schedule_free_adam" or "prodigy".
      served_tasks: tasks of an export.
      devices: how many share the T5's layers, as in `load_t5`.
      memory: what the plan has to fit into, in bytes or such as "16GB".
      flops_per_second: the rate of the machine; `softprompt_tf.resource_plan.measured_rate` measures it.

    Returns:
      A ResourcePlan.

    Raises:
      ConfigError: for a number out of range, or an unknown setting.
      BackboneError: for an unknown backbone.

    Examples:
      >>> plan = sp.plan("xxl", sp.prompt_tuning(length=100), batch_size=4, dtype="bfloat16", memory="80GB")
      >>> round(plan.memory["weights"] / 1e9, 1)  # 11.1 billion weights of 2 bytes
      22.3
      >>> plan.fit.fits
      True
    """
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "input_tokens": input_tokens,
        "target_tokens": target_tokens,
        "dtype": dtype or getattr(backbone, "compute_dtype", "float32"),
        "quantization": quantization,
        "gradient_checkpointing": gradient_checkpointing,
        "micro_batch_size": micro_batch_size,
        "cached_states": cached_states,
        "optimizer": optimizer,
        "served_tasks": served_tasks,
        "devices": devices,
    }
    _check(settings, flops_per_second)
    if devices is not None and memory is not None:
        raise ConfigError(
            f"`memory` is that of one device. Received: memory={memory!r} and devices={devices}. Leave one of them out."
        )
    name, form = form_of(backbone)
    method = _method(method)
    injected = injected_by(method, form.sizes)
    settings["cached_states"] = _checked_cached(cached_states, injected, method)
    work = _work(form, injected, settings)
    how: Any = {"quantization": quantization, "optimizer": optimizer, "num_tasks": method.num_tasks or 1}
    operations = step_operations(work.with_rows(batch_size))
    return ResourcePlan(
        backbone=name,
        method=method.name,
        parameters=form.num_parameters,
        trained=sum(map(math.prod, injected.trained.values())),
        memory=memory_parts(work, **how),
        task_file_bytes=FLOAT32 * injected.tensor_values + _FILE_METADATA,
        served_table_bytes=FLOAT32 * injected.tensor_values * served_tasks,
        step_operations=operations,
        served_row_operations=forward_operations(_served(work)),
        seconds_per_step=operations / flops_per_second if flops_per_second else None,
        fit=None if memory is None else fit_to(as_bytes(memory), work, **how),
        settings=settings,
        device_weights=device_weights(form, work.compute_bytes, quantization, devices) if devices else None,
    )


def _work(form: BackboneForm, injected: Injected, settings: Mapping[str, Any]) -> Work:
    return Work(
        form=form,
        injected=injected,
        rows=min(settings["batch_size"], settings["micro_batch_size"] or settings["batch_size"]),
        input_tokens=settings["input_tokens"],
        target_tokens=settings["target_tokens"],
        compute_bytes=DTYPE_BYTES[settings["dtype"]],
        recompute=settings["gradient_checkpointing"],
        cached_states=settings["cached_states"],
        quantization=settings["quantization"],
    )


def _served(work: Work) -> Work:
    return replace(work, rows=1, cached_states=False, recompute=False)


def _method(method: PromptMethod | str) -> PromptMethod:
    if isinstance(method, PromptMethod):
        return method
    if method not in METHODS:
        raise ConfigError(
            f"`method` must be a method, or one of {', '.join(METHODS)}. Received: {method!r:.80}."
            f"{nearest_method(str(method), METHODS)}"
        )
    return METHODS[method].make(seed=0).with_labels(_TWO_LABELS)


def _check(settings: Mapping[str, Any], flops_per_second: float | None) -> None:
    for name in ("batch_size", "input_tokens", "target_tokens", "served_tasks", "micro_batch_size", "devices"):
        value = settings[name]
        if name in ("micro_batch_size", "devices") and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"`{name}` must be a whole number above 0. Received: {name}={value!r}.")
    for name, known in (("dtype", tuple(DTYPE_BYTES)), ("quantization", QUANTIZATIONS), ("optimizer", OPTIMIZERS)):
        if settings[name] not in known:
            raise ConfigError(
                f"`{name}` must be one of {', '.join(map(str, known))}. Received: {name}={settings[name]!r}."
            )
    if flops_per_second is not None and not 0 < flops_per_second < math.inf:
        raise ConfigError(f"`flops_per_second` must be a number above 0. Received: {flops_per_second!r}.")


def _checked_cached(cached_states: bool | str, injected: Injected, method: PromptMethod) -> bool:
    if cached_states not in (True, False, "auto"):
        raise ConfigError(f"`cached_states` must be True, False or 'auto'. Received: cached_states={cached_states!r}.")
    if cached_states is True and injected.entry == 0:
        raise ConfigError(
            "`cached_states` are for methods that enter above the first layer of the encoder, such as late_prompts. "
            f"Received: {method.name}, which the first layer sees."
        )
    return injected.entry != 0 and bool(cached_states)
