"""A place for sweeps, and tuners that one test leaves to the next with the graphs that they have traced."""

import functools
import hashlib
from pathlib import Path

import pytest
from tiny_sweep import TinyPlace


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A directory with a preset of the tiny T5 and two tasks."""
    return TinyPlace(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="session")
def tuners():
    """The functions that load a backbone and make a tuner, each of which makes the same thing once.

    A tuner is made for one run after the other, as in a sweep; here the runs are of several sweeps.
    """
    from softprompt_tf.experiments import backbones, runner

    @functools.cache
    def load(name, content, dtype):
        return load_t5(name, dtype=dtype)

    @functools.cache
    def prompt_tuner(t5, strategy):
        return make_prompt_tuner(t5, strategy=strategy)

    load_t5, make_prompt_tuner = backbones.load_t5, runner.PromptTuner
    return {
        (backbones, "load_t5"): lambda name, *, dtype, devices=None: load(str(name), _digest_of(name), dtype),
        (runner, "PromptTuner"): lambda t5, *, strategy: prompt_tuner(t5, strategy),
        (runner, "ModelTuner"): functools.cache(runner.ModelTuner),
    }


@pytest.fixture(scope="module")
def shared_tuners(tuners):
    """Sweeps of this module that have a backbone in common have its tuners in common."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), function in tuners.items():
            patch.setattr(module, name, function)
        yield


@pytest.fixture
def new_tuners(shared_tuners, monkeypatch):
    """Every sweep of this test makes its own tuners, as a process does that begins."""
    from softprompt_tf.baselines import ModelTuner
    from softprompt_tf.experiments import runner
    from softprompt_tf.experiments.prompt_tuner import PromptTuner

    monkeypatch.setattr(runner, "PromptTuner", PromptTuner)
    monkeypatch.setattr(runner, "ModelTuner", ModelTuner)


def _digest_of(directory):
    """Return the content of a preset in short, which may change in its place; nothing for a name."""
    files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
