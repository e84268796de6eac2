"""How rows and answers are shared among workers, and what is refused, without a second process."""

import numpy as np
import pytest

from softprompt_tf.config import RunConfig
from softprompt_tf.errors import ConfigError, TrainingError, WorkerLostError
from softprompt_tf.evaluation.shared_answers import SharedAnswers
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.runs.several_workers import check_can_be_shared
from softprompt_tf.tasks import BatchStream, TokenizedExamples
from softprompt_tf.workers import cluster as joined_cluster
from softprompt_tf.workers.cluster import _wait_for
from softprompt_tf.workers.lost import _peer
from softprompt_tf.workers.tf_config import Cluster

TWO = Cluster({"worker": ("127.0.0.1:9", "127.0.0.1:10")}, "worker", 0)


def stream(**part):
    ids = tuple(np.full(1 + row % 5, row + 2, np.int32) for row in range(30))
    examples = TokenizedExamples(ids, ids, np.zeros(30, np.int32))
    return BatchStream(examples, batch_size=8, seed=1, **part)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_workers_together_see_each_row_of_the_batch_once(size):
    expected = sorted(ids[0] for ids in stream().batch(5)[1])

    parts = [stream(part=(rank, size)).batch(5)[1] for rank in range(size)]

    assert [len(part) for part in parts] == [8 // size] * size
    assert sorted(ids[0] for part in parts for ids in part) == expected


def test_a_batch_that_workers_cannot_share_evenly_is_refused():
    with pytest.raises(ConfigError, match="Received: batch_size=8 and 3 workers. Use batch_size=9, or other workers"):
        stream(part=(0, 3))


class Twins:
    """Two workers of which the other one has answered before."""

    def __init__(self, rank, other):
        self.rank, self.size, self._other = rank, 2, other

    def exchange(self, own):
        return [own, self._other] if self.rank == 0 else [self._other, own]


class Echo:
    def classify(self, texts, *, labels=None, task_id=None):
        return [Classification(text, 1.0, ("a", "b"), (0.0, -9.5)) for text in texts]

    def generate_scored(self, texts, *, max_tokens=None, task_id=None):
        return [Generation(text, -0.5) for text in texts]


def test_gathered_answers_are_in_the_order_of_the_texts(monkeypatch):
    monkeypatch.setattr(joined_cluster, "_active", Twins(0, [{"text": "1", "score": -0.5}]))

    answers = SharedAnswers(Echo()).generate_scored(["0", "1", "2"])

    assert answers == [Generation("0", -0.5), Generation("1", -0.5), Generation("2", -0.5)]


def test_gathered_labels_are_those_of_the_model(monkeypatch):
    other = {"label": "0", "probability": 1.0, "labels": ["a", "b"], "log_probabilities": [0.0, -9.5]}
    monkeypatch.setattr(joined_cluster, "_active", Twins(1, [other]))

    assert SharedAnswers(Echo()).classify(["0", "1"]) == Echo().classify(["0", "1"])


def test_one_text_and_two_workers_leave_one_without_work(monkeypatch):
    monkeypatch.setattr(joined_cluster, "_active", Twins(1, [{"text": "0", "score": -0.5}]))

    assert SharedAnswers(None).generate_scored(["0"]) == [Generation("0", -0.5)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"optimizer": "autoprompt"},
            "needs `training.optimizer: adafactor or adam`. Received: training.optimizer=autoprompt",
        ),
        ({"precision": "auto"}, "needs `training.precision: float32 or bfloat16`"),
        ({"cached_states": "float16"}, "needs `training.cached_states: auto or off`"),
        ({"micro_batch_size": 4}, "needs `training.micro_batch_size: null`. Received: training.micro_batch_size=4"),
        ({"devices": ["CPU:0"]}, r"needs `training.devices: null`. Received: training.devices=\['CPU:0'\]"),
        ({"batch_size": 7}, "Received: batch_size=7 and 2 workers"),
    ],
)
def test_what_workers_cannot_share_is_refused(setting, message):
    task = {
        "name": "film",
        "inputs": "{text}",
        "targets": "{label}",
        "train": "train.jsonl",
        "metrics": ["exact_match"],
    }
    config = RunConfig.model_validate({"backbone": "mini", "task": task, "output_dir": "run", "training": setting})

    with pytest.raises(ConfigError, match=message):
        check_can_be_shared(config, 2)


def test_workers_that_never_come_are_named():
    with pytest.raises(WorkerLostError, match="within 0.1 seconds. Received: no answer from 127.0.0.1:9, 127.0.0.1:10"):
        _wait_for(TWO, 0.1)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_a_time_limit_is_a_number_of_seconds(text, monkeypatch):
    monkeypatch.setenv("SOFTPROMPT_JOIN_TIMEOUT_S", text)

    with pytest.raises(ConfigError, match="SOFTPROMPT_JOIN_TIMEOUT_S must be a number of seconds above 0"):
        joined_cluster._seconds("SOFTPROMPT_JOIN_TIMEOUT_S", 300.0)


def test_workers_are_joined_before_tensorflow_runs(monkeypatch):
    import tensorflow as tf

    tf.constant(1)  # also where another test has not
    ports = '{"cluster": {"worker": ["127.0.0.1:%d"]}, "task": {"type": "worker", "index": 0}}'
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("TF_CONFIG", ports % port)

    with pytest.raises(TrainingError, match="Workers are joined before TensorFlow does anything else"):
        joined_cluster.join_workers()


def test_an_address_in_use_is_named(monkeypatch):
    import socket

    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        address = f"127.0.0.1:{used.getsockname()[1]}"
        monkeypatch.setenv(
            "TF_CONFIG", f'{{"cluster": {{"worker": ["{address}"]}}, "task": {{"type": "worker", "index": 0}}}}'
        )

        with pytest.raises(TrainingError, match=f"Worker 0 must be able to listen at {address}"):
            joined_cluster.join_workers()


def test_the_innermost_lost_worker_of_a_message_is_named():
    text = "aborted by: aborted by: reset ... target /job:worker/replica:0/task:1 while ... target /job:worker/replica:0/task:0"

    assert _peer(TWO, text) == "the loss of worker 1 at 127.0.0.1:10"
