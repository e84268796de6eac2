"""The Kubernetes manifests of the deployment kit: they fit each other, TF Serving's ports and paths, and the schemas.

No cluster is used. Rendering is checked where kubectl is installed.
"""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from deploy_kit import (
    DEPLOY,
    GRPC_PORT,
    REST_PORT,
    flags_of,
    load,
    load_container,
    load_manifests,
    load_model,
    load_pod,
)

# tensorflow/serving model_servers/http_rest_api_util.cc, kModelStatusApiRegex.
STATUS_PATH = re.compile(r"(?i)/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:\/(metadata))?")


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


def test_the_container_opens_both_ports(container):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    assert ports == {"grpc": GRPC_PORT, "rest": REST_PORT}


def test_services_lead_to_the_ports_of_the_pods(manifests, pod, container):
    names = {port["name"] for port in container["ports"]}

    for name, number in (("t5-grpc", GRPC_PORT), ("t5-rest", REST_PORT)):
        spec = manifests["Service", name]["spec"]
        (port,) = spec["ports"]
        assert spec["selector"].items() <= pod["metadata"]["labels"].items()
        assert port["port"] == number
        assert port["targetPort"] in names


def test_the_name_for_grpc_stands_for_every_pod(manifests):
    assert manifests["Service", "t5-grpc"]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "PodMonitor"])
def test_selectors_match_the_labels_of_the_pods(manifests, pod, kind):
    assert manifests[kind, "t5"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe"])
def test_a_pod_is_ready_when_the_label_of_the_clients_stands_for_a_loaded_version(container, model, probe):
    request = container[probe]["httpGet"]

    name, version, label, resource = STATUS_PATH.fullmatch(request["path"]).groups()

    assert (name, version, resource) == (model.name, None, "metadata")
    assert label in model.version_labels
    assert request["port"] == "rest"


def test_liveness_does_not_depend_on_a_model(container):
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}


def test_every_mounted_volume_exists_and_only_tmp_can_be_written(pod, container):
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}

    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert {name: "emptyDir" in volumes[name] for name in writable} == {"tmp": True}


def test_every_file_named_by_a_flag_is_in_the_config_map_mounted_there(pod, container):
    generated = {item["name"]: item["files"] for item in load("config", "kustomization.yaml")["configMapGenerator"]}
    volumes = {volume["name"]: volume.get("configMap", {}).get("name") for volume in pod["spec"]["volumes"]}
    at = {mount["mountPath"]: generated.get(volumes[mount["name"]], []) for mount in container["volumeMounts"]}
    named = [Path(value) for flag, value in flags_of(container["args"]).items() if flag.endswith("_file")]

    assert len(named) == 3
    assert [path.name in at[str(path.parent)] for path in named] == [True] * 3
    assert all((DEPLOY / "config" / path.name).is_file() for path in named)


def test_the_pod_runs_without_rights(pod, container):
    context = container["securityContext"]

    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["securityContext"]["runAsUser"] > 0
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not pod["spec"]["automountServiceAccountToken"]


def test_memory_is_bounded_and_reserved(container):
    resources = container["resources"]

    assert resources["limits"]["memory"] == resources["requests"]["memory"]
    assert "cpu" in resources["requests"]


def test_a_pod_may_finish_its_requests_before_it_is_killed(pod, container):
    drain_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

    assert pod["spec"]["terminationGracePeriodSeconds"] > drain_s


def test_the_autoscaler_goes_by_the_metric_that_the_adapter_makes(manifests):
    spec = manifests["HorizontalPodAutoscaler", "t5"]["spec"]
    (rule,) = load("prometheus_adapter.yaml")["rules"]["custom"]

    assert spec["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
    assert spec["scaleTargetRef"]["name"] == "t5"
    assert "replicas" not in manifests["Deployment", "t5"]["spec"]
    assert 1 < spec["minReplicas"] < spec["maxReplicas"]


def test_the_tls_patch_adds_the_secret_that_its_flag_names():
    flag, mount, volume = yaml.safe_load(load("kubernetes-tls", "kustomization.yaml")["patches"][0]["patch"])

    assert flag["value"] == f"--ssl_config_file={mount['value']['mountPath']}/ssl.config"
    assert mount["value"]["name"] == volume["value"]["name"]
    assert volume["value"]["secret"] == {"secretName": "t5-ssl", "defaultMode": 0o440}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("directory", ["kubernetes", "kubernetes-tls"])
def test_kustomize_puts_it_together(directory):
    result = subprocess.run(["kubectl", "kustomize", DEPLOY / directory], capture_output=True, text=True, check=True)

    rendered = {document["kind"]: document for document in yaml.safe_load_all(result.stdout)}
    volumes = {volume["name"]: volume for volume in rendered["Deployment"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["models-config"]["configMap"]["name"] == "t5-models"
    assert re.fullmatch(r"t5-server-\w{10}", volumes["server-config"]["configMap"]["name"])
    assert ("ssl-config" in volumes) == (directory == "kubernetes-tls")


@pytest.mark.parametrize("version", ["1.29", "1.35"])
def test_manifests_fit_the_schemas_of_kubernetes(manifests, version):
    for (kind, _), manifest in manifests.items():
        if kind != "PodMonitor":  # a type of the Prometheus operator
            kubernetes_validate.validate(manifest, version, strict=True)
