"""Prompts that train at once: they can be stopped together, and a step that was traced is used again."""

import dataclasses

import numpy as np
import pytest
from tiny_run import mood_rows
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import NonFiniteLossError
from softprompt_tf.model.task_method import settled, table_of
from softprompt_tf.tasks import BatchStream, Task, tokenize_examples
from softprompt_tf.training import KeepBestPrompt, PromptCheckpoint, ScheduleFreeAdam
from softprompt_tf.training.callbacks import steps_done
from softprompt_tf.training.checkpoint import write_checkpoint
from softprompt_tf.training.saved_run import Checkpoints
from softprompt_tf.training.together import train_together
from softprompt_tf.training.together_entry import Candidate, Entry


@pytest.fixture(scope="module")
def t5():
    return make_tiny_t5(num_layers=1)


def batches(t5):
    rows = Task("mood", "{text}", train=mood_rows()).examples("train")
    tokens = tokenize_examples(rows, t5.tokenize, max_input_tokens=16, max_target_tokens=6)
    return BatchStream(tokens, batch_size=4, seed=1)


def entry(candidate, t5, directory, steps):
    keep_best = KeepBestPrompt(None, every_steps=1_000)
    checkpoint = PromptCheckpoint(directory, seed=1, every_steps=1_000)
    return Entry(candidate, batches(t5), keep_best, checkpoint, steps)


def test_prompts_of_several_methods_stop_together_and_go_on_with_the_same_graph(t5, tmp_path):
    methods = (sp.prompt_tuning(3, seed=1), sp.superpos(3, num_embeddings=4, seed=1))
    optimizers = (sp.Adafactor(0.3), ScheduleFreeAdam(0.3))
    pairs = zip(methods, optimizers, strict=True)
    candidates = [Candidate(table_of(settled(method, t5), t5), optimizer) for method, optimizer in pairs]
    traced, asked = {}, []

    def is_late():
        asked.append(len(asked))
        return len(asked) == 2

    def entries():
        return [entry(candidate, t5, tmp_path / str(n), 5) for n, candidate in enumerate(candidates)]

    first = train_together(t5, entries(), sp.TargetCrossEntropy(), is_late=is_late, traced=traced)
    assert [result.steps_done for result in first] == [2, 2]
    assert all(list((tmp_path / str(n)).glob("step-00000002.*")) for n in range(2))
    (graph,) = traced.values()
    values = [np.array(candidate.prompt_table.tensors()["prompt"]) for candidate in candidates]

    second = train_together(t5, entries(), sp.TargetCrossEntropy(), traced=traced)

    assert [result.steps_taken for result in second] == [3, 3]
    assert [steps_done(candidate) for candidate in candidates] == [5, 5]
    assert list(traced.values()) == [graph]
    assert graph.experimental_get_tracing_count() == 1
    for before, candidate in zip(values, candidates, strict=True):
        assert np.abs(before - np.array(candidate.prompt_table.tensors()["prompt"])).max() > 0.01
    ended = [variable.numpy() for variable in candidates[1].trainable_variables]
    optimizers[1].finalize_variable_values(candidates[1].trainable_variables)
    for before, variable in zip(ended, candidates[1].trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)  # it ended with the average


def test_a_prompt_whose_loss_is_no_number_ends_with_its_best_values(t5, tmp_path):
    candidate = trained_at_once(t5, seed=1)
    best = [variable.numpy() for variable in candidate.trainable_variables]
    keep_best = KeepBestPrompt(lambda: {"score": 1.0}, every_steps=1)
    one = Entry(candidate, batches(t5), keep_best, PromptCheckpoint(tmp_path, seed=1), 5)
    one.begin()
    candidate.optimizer.iterations.assign(1)
    one.after_step(0.5, 0.1)
    for variable in candidate.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))
    candidate.optimizer.iterations.assign(2)

    one.after_step(float("nan"), 0.1)
    one.save()

    assert isinstance(one.error, NonFiniteLossError)
    for variable, expected in zip(candidate.trainable_variables, best, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected)
    assert not Checkpoints(tmp_path).are_there()  # of values that are not those of step 2


# === One form of checkpoint ===


def trained_at_once(t5, seed):
    method = sp.superpos(3, num_embeddings=4, seed=seed)
    return Candidate(table_of(settled(method, t5), t5), sp.Adafactor(0.3))


def trained_alone(t5, seed):
    model = sp.PromptedT5(t5, sp.superpos(3, num_embeddings=4, seed=seed))
    model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy())
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("is_old", [False, True], ids=["today's", "an earlier version's"])
@pytest.mark.parametrize(
    ("first", "second"), [(trained_at_once, trained_alone), (trained_alone, trained_at_once)], ids=["alone", "at once"]
)
def test_a_prompt_with_frozen_variables_goes_on_alone_or_at_once(t5, tmp_path, first, second, is_old):
    began, goes_on = first(t5, seed=1), second(t5, seed=2)
    names = [variable.name for variable in began.prompt_table.variables]
    frozen = [np.array(variable) for variable in (goes_on if is_old else began).prompt_table.non_trainable_variables]
    checkpoint = PromptCheckpoint(tmp_path, seed=1)
    checkpoint.set_model(began)
    checkpoint.save()
    if is_old:
        kept = Checkpoints(tmp_path).newest()
        some = {name: value for name, value in kept.tensors.items() if not name.startswith("frozen.")}
        write_checkpoint(kept.path, dataclasses.replace(kept, tensors=some))

    PromptCheckpoint(tmp_path, seed=1).resume(goes_on)

    assert [variable.name for variable in goes_on.prompt_table.variables] == names
    for found, expected in zip(goes_on.trainable_variables, began.trainable_variables, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    for variable, expected in zip(goes_on.prompt_table.non_trainable_variables, frozen, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected)
