"""The scripts of benchmarks/, loaded by path: they belong to no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(name: str) -> ModuleType:
    # Under its bare name, by which the scripts import each other.
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def report_script():
    return _load("backbones_report")


@pytest.fixture(scope="session")
def comparison_script():
    return _load("backbones_comparison")


@pytest.fixture(scope="session")
def backbones_script(report_script, comparison_script):
    return _load("backbones")
