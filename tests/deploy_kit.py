"""The deployment kit's files for its tests: names in, parsed files out."""

import json
from pathlib import Path

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "export" / "deploy"
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"


def read(*parts):
    return DEPLOY.joinpath(*parts).read_text(encoding="utf-8")


def load(*parts):
    return yaml.safe_load(read(*parts))


def load_model():
    """The one model of models.config."""
    config = text_format.Parse(read("config", "models.config"), model_server_config_pb2.ModelServerConfig())
    (only,) = config.model_config_list.config
    return only


def load_manifests():
    """(kind, name) -> manifest, of every file that the kustomization lists."""
    kustomization = load("kubernetes", "kustomization.yaml")
    files = [name for name in kustomization["resources"] if name.endswith(".yaml")]
    documents = [document for name in files for document in yaml.safe_load_all(read("kubernetes", name))]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def load_pod():
    """The pod template of the deployment."""
    return load("kubernetes", "deployment.yaml")["spec"]["template"]


def load_container():
    (only,) = load_pod()["spec"]["containers"]
    return only


def load_panels():
    return json.loads(read("grafana", "dashboards", "model_server.json"))["panels"]


def flags_of(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
