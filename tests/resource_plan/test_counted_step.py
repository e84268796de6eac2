"""Plans count the operations that TensorFlow counts in the graph of a step, and the bytes that its backward pass reads."""

import math

import pytest
from step_graph import step_graph

import softprompt_tf as sp
from softprompt_tf.resource_plan.backbone_form import BackboneForm
from softprompt_tf.resource_plan.injected import injected_by
from softprompt_tf.resource_plan.kept_activations import kept_bytes, rows_bytes
from softprompt_tf.resource_plan.memory import slot_values, variable_values
from softprompt_tf.resource_plan.operations import step_operations
from softprompt_tf.resource_plan.work import Work

ROWS, LENGTH = 3, 20
# Name -> method, target tokens, whether layers are recomputed. Few targets: cross-attention is absorbed; many: it is projected.
STEPS = {
    "a prompt": (lambda: sp.prompt_tuning(length=5), 2, False),
    "a prompt, many targets, recomputed": (lambda: sp.prompt_tuning(length=5), 9, True),
    "late rows": (lambda: sp.late_prompts(length=5, layer=1), 2, False),
    "keys and values": (lambda: sp.p_tuning_v2(length=5), 9, False),
    "low-rank changes": (lambda: sp.lora(rank=3), 9, False),
    "scales": (lambda: sp.ia3(), 2, False),
    "an invertible adapter": (lambda: sp.adapters(3, invertible=True), 9, False),
}


@pytest.fixture(scope="module", params=STEPS)
def step(request, two_layer_t5):
    make, targets, recompute = STEPS[request.param]
    traced = step_graph(two_layer_t5, make(), rows=ROWS, length=LENGTH, targets=targets, recompute=recompute)
    form = BackboneForm(sizes=two_layer_t5.sizes, vocabulary_size=two_layer_t5.vocabulary_size)
    injected = injected_by(traced.model.method, form.sizes)
    work = Work(
        form=form, injected=injected, rows=ROWS, input_tokens=LENGTH, target_tokens=targets, recompute=recompute
    )
    return traced, work


def test_operations_are_those_that_tensorflow_counts(step):
    traced, work = step

    assert step_operations(work) == traced.operations()


def test_kept_bytes_are_what_the_backward_pass_reads(step):
    traced, work = step

    # The plan leaves nothing out of the first layers, some of which no gradient needs: a half of these stacks of two layers.
    assert kept_bytes(work) - rows_bytes(work) == pytest.approx(traced.kept_bytes(), rel=0.15)


def test_slots_and_variables_are_those_of_the_optimizer(step):
    traced, work = step
    optimizer = traced.model.optimizer
    slots = [variable for variable in optimizer.variables if "_v" in variable.name]

    assert slot_values(work.injected, "adafactor", 1) == sum(math.prod(slot.shape) for slot in slots)
    trained = sum(math.prod(variable.shape) for variable in traced.model.trainable_variables)
    assert variable_values(work.injected, 1, work.injected.trained) == trained
