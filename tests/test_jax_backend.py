"""A prompted T5 under Keras's JAX backend, in a process that finds no TensorFlow, beside the same T5 under TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backend_answers import answers
from tiny_t5 import make_tiny_t5

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def under_tensorflow():
    return answers(make_tiny_t5())


@pytest.fixture(scope="module")
def under_jax(tmp_path_factory):
    path = tmp_path_factory.mktemp("jax") / "answers.npz"
    ran = run_under("jax", TESTS / "backend_answers.py", path)

    assert ran.returncode == 0, ran.stderr[-3000:]
    return dict(np.load(path))


def run_under(backend, *arguments):
    search = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    variables = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": search, "JAX_PLATFORMS": "cpu"}
    variables["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # what is compiled here runs once or twice
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=variables, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    "name", ["logits", "symbolic_logits", "greedy_scores", "label_scores", "losses", "evaluated", "prompt"]
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
    without_tensorflow = "import sys; sys.modules['tensorflow'] = sys.modules['tensorflow_text'] = None; "
    ran = run_under("numpy", "-c", f"{without_tensorflow}import softprompt_tf as sp; sp.load_t5('mini')")

    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert "BackendError: The Keras backend must be one of tensorflow, jax. Received: 'numpy'" in last
