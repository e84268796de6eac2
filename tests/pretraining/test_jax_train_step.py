"""Pretraining steps under JAX beside those under TensorFlow, on the same weights and batch."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from jax_steps import SIZES, trained

from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import pad_batch

pytestmark = pytest.mark.thorough

SCRIPT = Path(__file__).with_name("jax_steps.py")


@pytest.fixture(scope="module")
def given():
    backbone = build_backbone(BackboneShape(**SIZES), dtype="float32", seed=3)
    weights = [keras.ops.convert_to_numpy(weight) for weight in backbone.weights]
    return weights, pad_batch([[5, 6, 7], [8]], [[9], [10, 11, 12]])


@pytest.fixture(scope="module")
def under_jax(given, tmp_path_factory):
    weights, batch = given
    directory = tmp_path_factory.mktemp("jax")
    np.savez(directory / "given.npz", **batch, **{f"w{k}": value for k, value in enumerate(weights)})
    variables = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parents[2])}
    variables["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # what is compiled here runs a few times
    command = [sys.executable, SCRIPT, directory / "given.npz", directory / "result.npz"]

    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)

    assert ran.returncode == 0, ran.stderr[-3000:]
    return dict(np.load(directory / "result.npz"))


def test_losses_and_weights_are_those_of_tensorflow(given, under_jax):
    losses, weights = trained(*given)

    np.testing.assert_allclose(under_jax["losses"], losses, rtol=1e-5)
    assert losses[-1] < losses[0]
    for k, (before, after) in enumerate(zip(given[0], weights, strict=True)):
        # Adafactor divides small gradients by themselves, so that their rounding shows.
        assert np.linalg.norm(under_jax[f"w{k}"] - after) < 3e-3 * np.linalg.norm(after - before)


def test_a_run_stopped_and_resumed_ends_as_one_that_was_not(under_jax):
    assert under_jax["differs"] == 0
    assert under_jax["seen"].tolist() == [2, 3, 2, 3]


def test_a_loss_that_is_read_late_still_names_its_step_and_no_state_is_kept(under_jax):
    assert "Received: nan at step 0" in str(under_jax["message"])
    assert not under_jax["is_kept"]
