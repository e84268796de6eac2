"""softprompt-client is made of the client's own modules, which need nothing else of this library, nor NumPy."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "export" / "client" / "distribution" / "setup.py"


@pytest.fixture(scope="module")
def setup():
    spec = importlib.util.spec_from_file_location("client_setup", SETUP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project(setup, tmp_path_factory):
    directory = tmp_path_factory.mktemp("client")
    setup.copy_project(directory)
    return directory


def run(project, code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project, timeout=60
    ).stdout


def test_the_package_works_without_this_library_and_without_numpy(project):
    code = (
        "import sys; sys.modules.update({'softprompt_tf': None, 'numpy': None, 'tensorflow': None})\n"
        "import softprompt_client as client\n"
        "print(client.PredictionClient.__module__, client.RowError.__module__)\n"
        "try: client.PredictionClient('127.0.0.1:1', model_name='t5').generate_with_prompt([[0.0]], ['a'])\n"
        "except client.ConfigError as error: print(error)\n"
    )

    assert run(project, code).splitlines() == [
        "softprompt_client.client softprompt_client.errors",
        "A prompt is sent as a NumPy array. Received: no NumPy. Run `pip install numpy`.",
    ]


def test_beside_this_library_the_classes_are_the_same(project):
    code = (
        "import softprompt_client as client, softprompt_tf, softprompt_tf.export as export\n"
        "print(client.AsyncPredictionClient is export.AsyncPredictionClient)\n"
        "print(client.SoftPromptError is softprompt_tf.SoftPromptError)"
    )

    assert run(project, code) == "True\nTrue\n"


def test_beside_another_version_of_this_library_it_keeps_its_own_classes(project):
    code = (
        "import softprompt_tf.version; softprompt_tf.version.__version__ = '9.9'\n"
        "import softprompt_client as client; print(client.PredictionClient.__module__)"
    )

    assert run(project, code) == "softprompt_client.client\n"


def test_the_wheels_name_the_same_versions_of_what_they_need(setup):
    main = (setup.CLONE / "setup.cfg").read_text("utf-8")
    own = (SETUP.parent / "setup.cfg").read_text("utf-8")

    needed = [line.strip() for line in own.splitlines() if line.startswith("    ") and "<" in line and ">=" in line]
    assert len(needed) == 3
    assert all(f"    {line}\n" in main for line in needed)


def test_a_module_that_needs_more_of_this_library_is_refused(setup):
    with pytest.raises(SystemExit, match=r"its own modules only. Received: softprompt_tf.files in wire.py"):
        setup.renamed_imports("from softprompt_tf.files import local_paths\n", "wire.py")
