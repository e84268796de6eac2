"""Every method trains on two devices as on one."""

import json
from pathlib import Path

import pytest

from softprompt_tf.methods import METHODS


@pytest.mark.slow
def test_every_method_trains_on_two_devices_as_on_one(forked):
    done = forked.run(Path(__file__).with_name("two_replicas.py"))

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report) == {*METHODS, "prompt_tuning with a teacher"}
    for name, found in report.items():
        assert found["start"] == 0.0, name
        assert found["moved"] > 1e-3, name
        assert found["differs"] < 1e-4 * found["moved"], name  # sums in another order
