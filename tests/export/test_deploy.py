"""The deployment kit: text protos in TF Serving's own messages, the compose file, and the page that explains them.

No container is started here. The compose file is checked by hand, and against its specification.
"""

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import compose_spec
import pytest
import yaml
from deploy_kit import (
    DEPLOY,
    GRPC_PORT,
    METRICS_PATH,
    REST_PORT,
    ROOT,
    flags_of,
    load,
    load_container,
    load_manifests,
    load_model,
    load_pod,
    read,
)
from tf_serving_protos import read_text_proto

from softprompt_tf.export.client.client_options import ClientOptions

# tensorflow/serving model_servers/main.cc: the flags that are used here.
FLAGS = {
    "port",
    "rest_api_port",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "ssl_config_file",
    "grpc_channel_arguments",
}


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def manifests():
    return load_manifests()


@pytest.fixture(scope="module")
def pod():
    return load_pod()


@pytest.fixture(scope="module")
def container():
    return load_container()


@pytest.fixture(scope="module")
def compose():
    return load("compose.yaml")


@pytest.fixture(scope="module")
def batching():
    return read_text_proto("BatchingParameters", read("config", "batching.config"))


# === Text protos ===


def test_the_model_config_serves_t5_from_the_place_that_is_mounted(model, container, compose):
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    targets = {volume.rsplit(":", 2)[1] for volume in compose["services"]["model-server"]["volumes"]}

    assert (model.name, model.base_path, model.model_platform) == ("t5", "/models/t5", "tensorflow")
    assert "/models" in mounts & targets


def test_every_label_is_of_a_version_that_is_served(model):
    assert dict(model.version_labels) == {"stable": 1}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_a_batch_takes_the_largest_request_of_the_clients(batching):
    assert batching.max_batch_size.value == ClientOptions().max_batch_size == 64


def test_batches_are_not_filled_up(batching):
    assert list(batching.allowed_batch_sizes) == []
    assert not batching.pad_variable_length_inputs


def test_the_queue_is_bounded(batching):
    assert (batching.max_enqueued_batches.value, batching.num_batch_threads.value) == (32, 2)


def test_metrics_are_where_prometheus_looks(manifests):
    monitoring = read_text_proto("MonitoringConfig", read("config", "monitoring.config"))
    (endpoint,) = manifests["PodMonitor", "t5"]["spec"]["podMetricsEndpoints"]
    (scrape,) = load("prometheus.yaml")["scrape_configs"]

    assert monitoring.prometheus_config.enable
    assert {monitoring.prometheus_config.path, endpoint["path"], scrape["metrics_path"]} == {METRICS_PATH}


# === Flags ===


def test_flags_are_those_of_the_server(container, compose):
    patch = load("kubernetes-tls", "kustomization.yaml")["patches"][0]["patch"]
    added = yaml.safe_load(patch)[0]["value"]
    given = set(flags_of([*container["args"], *compose["services"]["model-server"]["command"], added]))

    assert given == FLAGS


@pytest.mark.parametrize("where", ["kubernetes", "compose"])
def test_ports_are_those_of_tf_serving(where, container, compose):
    service = compose["services"]["model-server"]
    flags = flags_of(container["args"] if where == "kubernetes" else service["command"])

    assert (flags["port"], flags["rest_api_port"]) == (str(GRPC_PORT), str(REST_PORT))


def test_the_server_is_not_process_1_anywhere(pod, container, compose):
    service = compose["services"]["model-server"]

    assert pod["spec"]["shareProcessNamespace"]
    assert service["init"]
    assert container["command"] == service["entrypoint"] == ["/usr/bin/tensorflow_model_server"]


# === Compose ===


def test_images_are_pinned_and_the_same_everywhere(compose, container):
    images = [service["image"] for service in compose["services"].values()]

    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images)
    assert compose["services"]["model-server"]["image"] == container["image"]


def test_compose_listens_on_this_machine_only(compose):
    ports = [port for service in compose["services"].values() for port in service["ports"]]

    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_files_that_exist(compose):
    volumes = [volume for service in compose["services"].values() for volume in service["volumes"]]
    sources = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]

    assert len(sources) == 5
    assert all((DEPLOY / source).exists() for source in sources)


def test_compose_runs_the_server_without_rights(compose):
    service = compose["services"]["model-server"]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert not service["user"].startswith("0")


def test_compose_fits_the_specification():
    text = read("compose.yaml").replace("${MODELS:?the directory that holds t5/1}", "/models")
    compose_spec.PyCompose.from_yaml(text).validate()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the image's shell")
@pytest.mark.parametrize(("code", "is_healthy"), [(200, True), (404, False)])
def test_the_health_check_of_compose_is_ok_for_200_only(compose, code, is_healthy):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(code)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _, *command = compose["services"]["model-server"]["healthcheck"]["test"]
    command[-1] = command[-1].replace("$$", "$").replace(str(REST_PORT), str(server.server_address[1]))

    result = subprocess.run(command, timeout=30)

    server.shutdown()
    server.server_close()
    assert (result.returncode == 0) == is_healthy
    assert asked == ["/v1/models/t5/labels/stable/metadata"]


# === The page ===


def test_the_pages_name_files_that_exist():
    pages = ("deploy", "call_the_server", "roll_out", "watch_and_scale", "tls")
    page = "\n".join((ROOT / "docs" / "how_to" / f"{name}.md").read_text(encoding="utf-8") for name in pages)

    named = {path.rstrip("./") for path in re.findall(r"(?:export/deploy|docs/examples|tests/export)/[\w./-]*", page)}

    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_page_tells_every_option_with_its_default():
    page = (ROOT / "docs" / "how_to" / "call_the_server.md").read_text(encoding="utf-8")
    rows = {row[1]: row[2] for row in re.findall(r"(?m)^(\| `(\w+)`[^|]*\| ([^|]+) \|)", page)}
    defaults = ClientOptions()

    for name in ("timeout_s", "max_batch_size", "max_concurrent_requests", "max_retries", "retry_budget"):
        assert float(rows[name]) == getattr(defaults, name)
