"""A prompted T5, and pretraining, under Keras's JAX backend, in a process without TensorFlow, beside both under TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from backend_answers import answers
from jax_steps import SIZES, trained
from tiny_t5 import make_tiny_t5

from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import pad_batch

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent
# An import fails, as where it is not installed.
WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = sys.modules['tensorflow_text'] = None; "


@pytest.fixture(scope="module")
def under_tensorflow():
    return answers(make_tiny_t5())


@pytest.fixture(scope="module")
def given():
    """The weights and the batch of pretraining under both backends."""
    backbone = build_backbone(BackboneShape(**SIZES), dtype="float32", seed=3)
    weights = [keras.ops.convert_to_numpy(weight) for weight in backbone.weights]
    return weights, pad_batch([[5, 6, 7], [8]], [[9], [10, 11, 12]])


@pytest.fixture(scope="module")
def in_one_process(given, tmp_path_factory):
    """What one process under JAX answers, and what its pretraining comes to."""
    weights, batch = given
    directory = tmp_path_factory.mktemp("jax")
    np.savez(directory / "given.npz", **batch, **{f"w{k}": value for k, value in enumerate(weights)})
    code = (
        "import backend_answers, jax_steps; backend_answers.write_answers('answers.npz'); "
        "jax_steps.write_steps('given.npz', 'steps.npz')"
    )
    ran = run_under("jax", code, cwd=directory)

    assert ran.returncode == 0, ran.stderr[-3000:]
    return dict(np.load(directory / "answers.npz")), dict(np.load(directory / "steps.npz"))


@pytest.fixture(scope="module")
def under_jax(in_one_process):
    return in_one_process[0]


@pytest.fixture(scope="module")
def pretrained(in_one_process):
    return in_one_process[1]


def run_under(backend, code, **options):
    search = os.pathsep.join(str(path) for path in (TESTS.parent, TESTS, TESTS / "pretraining"))
    variables = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": search, "JAX_PLATFORMS": "cpu"}
    variables["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # what is compiled here runs a few times
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW + code]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, **options)


@pytest.mark.parametrize(
    "name",
    [
        "logits",
        "symbolic_logits",
        "placed_logits",
        "seen_logits",
        "invertible_logits",
        "greedy_scores",
        "label_scores",
        "losses",  # with a teacher's answers and hidden states
        "evaluated",
        "prompt",
        "prodigy",
    ],
)
def test_the_numbers_are_those_of_tensorflow(under_jax, under_tensorflow, name):
    np.testing.assert_allclose(under_jax[name], under_tensorflow[name], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["greedy_ids", "beam_ids"])
def test_the_tokens_are_those_of_tensorflow(under_jax, under_tensorflow, name):
    np.testing.assert_array_equal(under_jax[name], under_tensorflow[name])


def test_training_moves_the_prompt_and_no_weight_of_the_model(under_jax):
    assert under_jax["losses"][2] < under_jax["losses"][0]
    assert under_jax["moved_weights"] == 0


@pytest.mark.parametrize("name", ["fit", "fit_list", "generate", "classify"])
def test_texts_are_refused_in_one_sentence_that_names_the_way_out(under_jax, name):
    message = str(under_jax[f"refused_{name}"])

    assert message.startswith("BackendError: Texts need TensorFlow. Received: the Keras backend 'jax'")
    assert "KERAS_BACKEND=tensorflow" in message


def test_another_backend_is_refused_where_a_model_is_loaded():
    ran = run_under("numpy", "import softprompt_tf as sp; sp.load_t5('mini')")

    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert "BackendError: The Keras backend must be one of tensorflow, jax. Received: 'numpy'" in last


# === Pretraining ===


def test_losses_and_weights_are_those_of_tensorflow(given, pretrained):
    losses, weights = trained(*given)

    np.testing.assert_allclose(pretrained["losses"], losses, rtol=1e-5)
    assert losses[-1] < losses[0]
    for k, (before, after) in enumerate(zip(given[0], weights, strict=True)):
        # Adafactor divides small gradients by themselves, so that their rounding shows.
        assert np.linalg.norm(pretrained[f"w{k}"] - after) < 3e-3 * np.linalg.norm(after - before)


def test_a_run_stopped_and_resumed_ends_as_one_that_was_not(pretrained):
    assert pretrained["differs"] == 0
    assert pretrained["seen"].tolist() == [2, 3, 2, 3]


def test_a_loss_that_is_read_late_still_names_its_step_and_no_state_is_kept(pretrained):
    assert "Received: nan at step 0" in str(pretrained["message"])
    assert not pretrained["is_kept"]
