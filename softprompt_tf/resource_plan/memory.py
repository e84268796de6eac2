"""The memory of a training process by parts, in bytes."""

import math
from collections.abc import Mapping

from softprompt_tf.resource_plan.backbone_form import BackboneForm
from softprompt_tf.resource_plan.injected import Injected
from softprompt_tf.resource_plan.kept_activations import kept_bytes
from softprompt_tf.resource_plan.transients import largest_transient, weight_copies
from softprompt_tf.resource_plan.work import Work
from softprompt_tf.training.adafactor import slot_shapes

FLOAT32 = 4
DTYPE_BYTES = {"float32": 4, "bfloat16": 2}
_SLOTS = {"adam": 2, "schedule_free_adam": 3, "prodigy": 4}  # of the size of a variable
QUANTIZATIONS = (None, "int8", "int4")
_GROUP = 128  # inputs of an int4 kernel that share a scale and a zero point of one byte

# What TensorFlow keeps of a traced and optimized graph, measured on CPU with T5s whose widths are tiny: nothing else is there.
_GRAPH = 18e6
_LAYER_WITH_GRADIENT, _LAYER_WITHOUT = 7.7e6, 3.5e6
_CHANGED_PART = 1.3e6  # of one layer: a low-rank product, a scale, keys and values
_CHANGED_BY_ADAPTER = 2.9e6
_RECOMPUTED = 1.3
_GRAPH_OF_LAYERS = {None: 1.0, "int8": 2.0, "int4": 4.7}  # int4 from Small alone
# The allocator's loss, as a share of activations: measured peaks are this much above the sum of the tensors.
_ALLOCATOR = 0.04


def memory_parts(work: Work, *, quantization: str | None, optimizer: str, num_tasks: int) -> dict[str, int]:
    """Return part -> bytes of a process that trains.

    Args:
      work: one training step.
      quantization: "int8", "int4" or None.
      optimizer: "adafactor", "adam", "schedule_free_adam" or "prodigy".
      num_tasks: the tasks that one model trains.
    """
    activations, transient = kept_bytes(work), largest_transient(work)
    trained = variable_values(work.injected, num_tasks, work.injected.trained)
    frozen = variable_values(work.injected, num_tasks, work.injected.frozen)
    return {
        "weights": weight_bytes(work.form, work.compute_bytes, quantization),
        "embedding table for first values": FLOAT32 * work.form.table_values,
        "copies of weights for the gradient": weight_copies(work),
        "activations kept": activations,
        "largest transient": transient,
        "task tensors": FLOAT32 * (trained + frozen),
        "their gradients": FLOAT32 * trained,
        "optimizer slots": FLOAT32 * slot_values(work.injected, optimizer, num_tasks),
        "graph and allocator": round(graph_bytes(work) + _ALLOCATOR * (activations + transient)),
    }


def weight_bytes(form: BackboneForm, compute_bytes: int, quantization: str | None) -> int:
    """Return the bytes of a T5's weights.

    int8 keeps a float32 scale for each column of a kernel, and tables in the dtype. int4 keeps half a byte a value; a scale in the
    dtype and a zero point for each group of each column; and a float32 number for each row (Keras 3.15).
    """
    if quantization is None:
        return compute_bytes * form.num_parameters
    if quantization == "int4":
        groups = sum(count * math.ceil(rows / _GROUP) * columns for rows, columns, count in form.kernels)
        of_rows = sum(count * rows for rows, _, count in form.kernels)
        halves = sum(count * rows * math.ceil(columns / 2) for rows, columns, count in form.kernels)
        return halves + (compute_bytes + 1) * groups + FLOAT32 * of_rows + compute_bytes * form.other_values
    return form.kernel_values + FLOAT32 * form.kernel_columns + compute_bytes * form.other_values


def variable_values(injected: Injected, num_tasks: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the values of variables of several tasks, of which shared ones are there once."""
    return sum(math.prod(shape) * (1 if name in injected.shared else num_tasks) for name, shape in shapes.items())


def slot_values(injected: Injected, optimizer: str, num_tasks: int) -> int:
    """Return the values of an optimizer's slots."""
    if optimizer in _SLOTS:
        return _SLOTS[optimizer] * variable_values(injected, num_tasks, injected.trained)
    total = 0
    for name, shape in injected.trained.items():
        has_tasks = num_tasks > 1 and name not in injected.shared
        full = (num_tasks, *shape) if has_tasks else shape
        total += sum(map(math.prod, slot_shapes(full, has_tasks=has_tasks)))
    return total


def graph_bytes(work: Work) -> float:
    """Return what TensorFlow keeps of the graph of a step, by its layers and by what changes them."""
    sizes, injected = work.form.sizes, work.injected
    kept = sizes.encoder_layers - max(work.first_kept, work.first_run)
    run = sizes.encoder_layers - work.first_run
    layers = _LAYER_WITH_GRADIENT * (kept + sizes.decoder_layers) + _LAYER_WITHOUT * (run - kept)
    changed = sum(
        (_CHANGED_BY_ADAPTER if name.endswith("adapter") else _CHANGED_PART)
        * (sizes.encoder_layers if name.startswith("encoder") else sizes.decoder_layers)
        for name in injected.by_layer
    )
    factor = (_RECOMPUTED if work.recompute else 1.0) * _GRAPH_OF_LAYERS[work.quantization]
    return _GRAPH + (layers + changed) * factor
