"""Makes the tiny run of this folder a fixture, as the test modules cannot import their neighbours."""

import importlib.util
import pathlib

import pytest


@pytest.fixture(scope="session")
def tiny():
    path = pathlib.Path(__file__).with_name("tiny_run.py")
    spec = importlib.util.spec_from_file_location("tiny_run", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
