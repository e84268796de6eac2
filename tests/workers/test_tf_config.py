"""TF_CONFIG as users have it, and what is wrong with it otherwise."""

import json

import pytest

from softprompt_tf.errors import ConfigError
from softprompt_tf.workers import read_cluster

TWO = ["10.0.0.1:2222", "10.0.0.2:2222"]


def config(cluster=None, task=None, **changed):
    values = {
        "cluster": {"worker": TWO} if cluster is None else cluster,
        "task": task or {"type": "worker", "index": 0},
    }
    return {"TF_CONFIG": json.dumps({**values, **changed})}


def test_the_first_worker_is_the_chief():
    cluster = read_cluster(config(task={"type": "worker", "index": 1}))

    assert (cluster.rank, cluster.size, cluster.addresses) == (1, 2, tuple(TWO))


def test_a_chief_comes_before_the_workers():
    jobs = {"worker": TWO, "chief": ["10.0.0.9:2222"]}

    assert read_cluster(config(jobs, {"type": "chief", "index": 0})).rank == 0
    assert read_cluster(config(jobs, {"type": "worker", "index": 0})).rank == 1
    assert read_cluster(config(jobs)).addresses == ("10.0.0.9:2222", *TWO)


def test_an_index_may_be_a_string_as_in_environment_variables():
    assert read_cluster(config(task={"type": "worker", "index": "1"})).rank == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "needs the environment variable TF_CONFIG.* Received: none. On one machine `softprompt train"),
        ({"TF_CONFIG": "worker"}, "TF_CONFIG must be JSON. Received: worker"),
        ({"TF_CONFIG": "[" * 100_000}, r"must be JSON. Received: \[\[.*maximum recursion"),
        ({"TF_CONFIG": "[]"}, r"must be a JSON object. Received: \[\]"),
        (config({}), r"must have a `cluster` with the address of each worker. Received: cluster=\{\}"),
        (config({"worker": []}), "must have a `cluster` with the address of each worker"),
        (config([]), r"must have a `cluster`.* Received: cluster=\[\]"),
        (config({"worker": TWO, "ps": ["10.0.0.3:1"]}), "must name no jobs but chief and worker. Received: ps"),
        (config({"worker": TWO, "chief": ["a:1", "b:1"]}), "must have one chief at most"),
        (config({"worker": "10.0.0.1:2222"}), "must have a list of addresses for each job"),
        (config({"worker": TWO, "chief": 3}), "must have a list of addresses for each job. Received: chief=3"),
        (config({"worker": ["10.0.0.1"]}), "must have addresses of the form HOST:PORT. Received: '10.0.0.1'"),
        (config({"worker": ["10.0.0.1:0"]}), "must have addresses of the form HOST:PORT"),
        (config({"worker": [TWO[0], TWO[0]]}), "must give each worker an address of its own"),
        (config(task={"type": "worker"}), "must have a `task` with `type` and `index`"),
        (config(task={"type": "chief", "index": 0}), "`task.type` that is in its cluster: worker. Received: 'chief'"),
        (
            config(task={"type": "worker", "index": 2}),
            "`task.index` from 0 up to 1, as there are 2 of worker. Received: 2",
        ),
        (config(task={"type": "worker", "index": -1}), "Received: -1"),
        (config(task={"type": "worker", "index": True}), "Received: True"),
        (config(task={"type": ["worker"], "index": 0}), r"Received: \['worker'\]"),
    ],
)
def test_a_wrong_tf_config_is_refused_with_its_rule(environment, message):
    with pytest.raises(ConfigError, match=message):
        read_cluster(environment)
