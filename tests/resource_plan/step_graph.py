"""The graph of one training step on token ids of fixed shapes, and what TensorFlow itself counts in it."""

from typing import NamedTuple

import tensorflow as tf
from tensorflow.python.framework.ops import get_stats_for_node_def

import softprompt_tf as sp

_SAME_BUFFER = ("Identity", "Reshape", "StopGradient", "IdentityN", "ExpandDims", "Squeeze")
_NOT_KEPT = ("ReadVariableOp", "Placeholder", "Const", "StridedSlice")  # weights; rows of tasks are counted apart


class StepGraph(NamedTuple):
    """A traced step.

    Args:
      model: the model.
      graph: of the step.
      first_backward: the number of the first operation of the backward pass.
      needed: names of the operations that the result or an update needs.
    """

    model: sp.PromptedT5
    graph: tf.Graph
    first_backward: int
    needed: frozenset

    def operations(self):
        """Return the floating point operations of the matrix products: of plain ones by TensorFlow's own count, which its
        profiler adds up; of batches of products by their shapes, as that count takes no notice of a transposed factor."""
        total = 0
        for each in self.graph.get_operations():
            if each.name in self.needed and each.type == "MatMul":
                total += int(get_stats_for_node_def(self.graph, each.node_def, "flops").value)
            elif each.name in self.needed and each.type == "BatchMatMulV2":
                left, axis = each.inputs[0].shape, -2 if each.get_attr("adj_x") else -1
                total += 2 * left[axis] * each.outputs[0].shape.num_elements()
        return total

    def kept_bytes(self):
        """Return the bytes of all that the backward pass reads of the forward pass, each buffer once."""
        operations = self.graph.get_operations()
        number = {operation.name: k for k, operation in enumerate(operations)}
        kept = {}
        for operation in operations[self.first_backward :]:
            for tensor in operation.inputs if operation.name in self.needed else ():
                source = _buffer(tensor)
                is_forward = number[source.op.name] < self.first_backward and source.shape.num_elements() is not None
                if is_forward and source.op.type not in _NOT_KEPT:
                    kept[source.name] = source.shape.num_elements() * source.dtype.size
        return sum(kept.values())


def step_graph(t5, method, *, rows, length, targets, recompute=False):
    """Trace one step."""
    model = sp.PromptedT5(t5, method)
    model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy(), gradient_checkpointing=recompute)
    model.optimizer.build(model.trainable_variables)
    first_backward = 0

    def step(tokens, targets):
        nonlocal first_backward
        with tf.GradientTape() as tape:
            loss = model.loss(targets, model(tokens, training=True))
        first_backward = len(tf.compat.v1.get_default_graph().get_operations())
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    shapes = {"encoder_token_ids": length, "encoder_padding_mask": length}
    shapes |= {"decoder_token_ids": targets, "decoder_padding_mask": targets}
    tokens = {name: tf.TensorSpec((rows, width), tf.int32) for name, width in shapes.items()}
    traced = tf.function(step, autograph=False).get_concrete_function(tokens, tf.TensorSpec((rows, targets), tf.int32))
    return StepGraph(model, traced.graph, first_backward, frozenset(_needed(traced.graph)))


def _needed(graph):
    found, left = set(), [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while left:
        operation = left.pop()
        if operation.name not in found:
            found.add(operation.name)
            left += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return found


def _buffer(tensor):
    """Return the tensor whose buffer a tensor shares."""
    while tensor.op.type in _SAME_BUFFER:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor
