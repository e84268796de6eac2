"""Both wheels, built and installed as a user would: outside the clone, each in an environment of its own. Needs a package index."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.export import ModelServer, write_saved_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
MOST_CLIENT_BYTES = 60e6
OUTPUTS = (".venv*", ".git", ".carried", "build", "dist", "site", "runs", "exports", "demo_run")

ASK = """
import json, sys, time
started = time.perf_counter()
from softprompt_client import PredictionClient, RowError
seconds = time.perf_counter() - started
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "numpy", "scipy"})
with PredictionClient(sys.argv[1], model_name="t5") as client:
    answer = client.classify(["a charming film"], task_id="mood")[0]
    try:
        client.classify(["a film"], task_id="nobody")
    except RowError as error:
        status = error.row_status[0]
print(json.dumps({"seconds": seconds, "heavy": heavy, "label": answer.label, "logs": answer.log_probabilities, "status": status}))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheel of softprompt-client and that of softprompt-tf."""
    root = tmp_path_factory.mktemp("wheels")
    clone = shutil.copytree(ROOT, root / "clone", ignore=left_out)
    built = []
    for name, directory in (("client", clone / "export/client/distribution"), ("main", clone)):
        pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", root / name, directory)
        built += (root / name).glob("*.whl")
    return built


def left_out(directory, names):
    """Say what is no part of a clone: of the top, what commands write there; packages may have such names too."""
    patterns = ("__pycache__", "*.egg-info", *(OUTPUTS if Path(directory) == ROOT else ()))
    return shutil.ignore_patterns(*patterns)(directory, names)


def pip(python, *arguments):
    subprocess.run([python, "-m", "pip", "--quiet", *map(str, arguments)], check=True, timeout=1800)


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, timeout=1800, **options)


def environment(directory, *packages):
    """Make an environment with these packages; return its Python."""
    run(sys.executable, "-m", "venv", directory)
    python = directory / "bin" / "python"
    pip(python, "install", *packages)
    return python


def outside():
    """Return an environment that knows nothing of the clone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="module")
def client_python(wheels, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("client"), wheels[0])


def test_the_wheels_have_no_file_in_common(wheels):
    names = [{name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} for wheel in wheels]

    assert names[0]
    assert names[0] & names[1] == set()
    assert {name.partition("/")[0] for name in names[0]} == {"softprompt_client"}
    assert {name.partition("/")[0] for name in names[1]} == {"softprompt_tf"}


def test_the_client_alone_is_small(client_python):
    site = next((client_python.parents[1] / "lib").glob("python3*/site-packages"))
    brought = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}
    files = [path for path in site.rglob("*") if path.is_file() and path.relative_to(site).parts[0] not in brought]
    installed = {path.name.partition("-")[0] for path in site.glob("*.dist-info")} - brought

    assert installed == {"softprompt_client", "grpcio", "protobuf", "typing_extensions"}
    assert sum(path.stat().st_size for path in files) <= MOST_CLIENT_BYTES


def test_the_client_alone_asks_a_server(client_python, tiny_t5, tmp_path):
    rows = np.random.default_rng(1).normal(size=(3, tiny_t5.hidden_dim)).astype(np.float32)
    prompts = {"mood": task_prompt(tiny_t5, rows)}
    write_saved_model(tmp_path / "t5", tiny_t5, prompts, verify=False)

    with ModelServer(tmp_path / "t5", model_name="t5", grpc_port=0, rest_port=None) as server:
        target = f"127.0.0.1:{server.grpc_port}"
        done = run(client_python, "-c", ASK, target, capture_output=True, env=outside(), cwd=tmp_path)

    from softprompt_tf import PromptedT5

    expected = PromptedT5(tiny_t5, prompts["mood"]).classify(["a charming film"])[0]
    told = json.loads(done.stdout)
    assert told["heavy"] == []
    assert told["seconds"] < 3
    assert told["label"] == expected.label
    np.testing.assert_allclose(told["logs"], expected.log_probabilities, atol=1e-4)
    assert told["status"].startswith("Unknown task id 'nobody'")
    assert done.stderr == ""


def task_prompt(t5, rows):
    from softprompt_tf.methods import TaskPrompt

    prints = {"backbone_fingerprint": t5.fingerprint, "tokenizer_fingerprint": t5.tokenizer_fingerprint}
    return TaskPrompt(prompt=rows, task_id="mood", labels=("no", "yes"), template="{text}", **prints)


@pytest.mark.parametrize("first", [0, 1], ids=["client first", "main first"])
def test_both_are_installed_in_any_order_and_have_the_same_classes(wheels, tmp_path, first):
    python = environment(tmp_path / "both", "grpcio", "protobuf", "numpy")
    for wheel in (wheels[first], wheels[1 - first]):
        pip(python, "install", "--no-deps", wheel)
    code = (
        "import softprompt_client as client, softprompt_tf as main, softprompt_tf.export as export\n"
        "from softprompt_tf import errors\n"
        "assert client.PredictionClient is export.PredictionClient\n"
        "assert client.RowError is errors.RowError\n"
        "assert client.__version__ == main.__version__\n"
    )

    run(python, "-c", code, cwd=tmp_path, env=outside())
    pip(python, "uninstall", "--yes", "softprompt-client")
    run(python, "-c", "from softprompt_tf.export import PredictionClient", cwd=tmp_path, env=outside())


def test_the_main_wheel_runs_the_demo_outside_the_clone(wheels, tmp_path):
    python = environment(tmp_path / "main", wheels[1])
    softprompt = python.with_name("softprompt")

    run(softprompt, "configs", cwd=tmp_path, env=outside())
    done = run(softprompt, "demo", "--steps", "2", cwd=tmp_path, env=outside(), capture_output=True)

    assert "Served = Keras" in done.stdout
    assert "tensorflow" not in done.stderr.lower()
