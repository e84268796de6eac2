"""Strategies by name, and two replicas against one device."""

import json
import pathlib

import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.training import make_strategy

pytestmark = pytest.mark.thorough


def test_default_and_mirrored_strategies():
    assert make_strategy("default").num_replicas_in_sync == 1
    assert isinstance(make_strategy("mirrored"), tf.distribute.MirroredStrategy)


def test_unknown_strategy_names_the_nearest():
    with pytest.raises(ConfigError, match="Received: strategy='miror'. Did you mean 'mirrored'?"):
        make_strategy("miror")


def test_tpu_without_a_tpu_is_refused(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)

    with pytest.raises(TrainingError, match="Strategy 'tpu' needs a TPU"):
        make_strategy("tpu")


def test_two_replicas_with_uneven_token_counts_equal_one_device(forked):
    script = pathlib.Path(__file__).with_name("two_replicas.py")

    done = forked.run(script)

    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert list(reports) == ["adafactor", "prodigy", "schedule_free_adam"]
    for optimizer, report in reports.items():
        assert (report["replicas"], report["steps"]) == (2, 6)
        assert report["moved"] > 0.05
        for name in ["loss", "prompt", "slots", "copies"]:
            assert report[name] < 1e-5, (optimizer, name)
