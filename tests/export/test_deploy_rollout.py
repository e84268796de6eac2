"""The deployment kit's config files on the local model server: what the documentation says of health, rolling out and back."""

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.server.serving_options import ServingOptions

DEPLOY = Path(__file__).resolve().parents[2] / "export" / "deploy"
COLUMN = tf.TensorSpec([None], tf.string)


class Numbered(tf.Module):
    """Answers every text with its own version."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[COLUMN, COLUMN])
    def generate(self, task_id, text):
        rows = tf.ones_like(text, tf.float32)
        return {"output": text, "score": rows * self.version, "status": tf.fill([tf.size(text)], "")}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exports")
    for version in (1, 2):
        module = Numbered(version)
        tf.saved_model.save(module, str(directory / str(version)), {"serving_default": module.generate})
    return directory


@pytest.fixture
def models_config(exports, tmp_path):
    """The kit's models.config beside version 1, with the path of this test."""
    shutil.copytree(exports / "1", tmp_path / "models" / "t5" / "1")
    path = tmp_path / "models.config"
    text = (DEPLOY / "config" / "models.config").read_text(encoding="utf-8")
    path.write_text(text.replace('"/models/t5"', f'"{tmp_path}/models/t5"'))
    return path


@pytest.fixture
def server(models_config):
    """The local server with the flags of the kit's containers, but it looks every second."""
    options = ServingOptions(
        model_config_file=models_config,
        model_config_file_poll_wait_seconds=1,
        allow_version_labels_for_unavailable_models=True,
        enable_batching=True,
        batching_parameters_file=DEPLOY / "config" / "batching.config",
    )
    with ModelServer(grpc_port=0, rest_port=0, poll_interval_s=0.1, options=options) as running:
        yield running


def replace(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.with_suffix(".new").write_text(text.replace(old, new))
    path.with_suffix(".new").replace(path)


def answering_version(server, **which):
    with PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="t5", **which) as client:
        return client.generate(["x"], task_id="a")[0].score


def states(server):
    with PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="t5") as client:
        return dict(client.status())


def wait_until(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.05)


def test_the_probe_of_the_pods_is_answered_with_200(server):
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    path = container["readinessProbe"]["httpGet"]["path"]

    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}{path}", timeout=30) as response:
        assert response.status == 200


def test_the_probe_fails_for_a_label_that_stands_for_nothing(server):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/t5/labels/canary/metadata"

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=30)

    assert caught.value.code in {400, 404}


def test_a_version_is_rolled_out_and_back_by_edits_of_the_config(server, models_config, exports, tmp_path):
    assert answering_version(server, version_label="stable") == 1

    shutil.copytree(exports / "2", tmp_path / "models" / "t5" / "2")
    replace(models_config, "versions: 1\n", "versions: 1\n        versions: 2\n")
    wait_until(lambda: states(server).get(2) == "AVAILABLE")
    assert (answering_version(server, version=2), answering_version(server, version_label="stable")) == (2, 1)

    replace(models_config, "value: 1\n", "value: 2\n")
    wait_until(lambda: answering_version(server, version_label="stable") == 2)

    replace(models_config, "value: 2\n", "value: 1\n")
    wait_until(lambda: answering_version(server, version_label="stable") == 1)
    assert states(server) == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_a_new_export_is_not_loaded_before_it_is_named(server, exports, tmp_path):
    shutil.copytree(exports / "2", tmp_path / "models" / "t5" / "2")

    time.sleep(0.5)  # five looks at the directory

    assert states(server) == {1: "AVAILABLE"}


def test_a_label_does_not_move_to_a_version_that_is_not_in_memory(server, models_config):
    replace(models_config, "value: 1\n", "value: 7\n")

    time.sleep(2.5)  # two looks at the file

    assert answering_version(server, version_label="stable") == 1
