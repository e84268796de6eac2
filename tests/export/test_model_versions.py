"""The versions of one model: what is loaded, let go and tried again as a directory changes."""

import gc
import os
import shutil
import threading
from pathlib import Path

import pytest
import tensorflow as tf
from echo_model import predict_request, wait_until
from tensorflow_serving.apis import prediction_log_pb2
from version_changes import copy_half

from softprompt_tf.errors import ServingError
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.server import model_versions
from softprompt_tf.export.server.batching import BatchScheduler
from softprompt_tf.export.server.batching_parameters import BatchingParameters
from softprompt_tf.export.server.loaded_version import load_version, run_warmup
from softprompt_tf.export.server.model_config import VersionPolicy
from softprompt_tf.export.server.model_versions import LoadRetries, ModelVersions
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.versions.version_numbers import find_versions

GOOD = {"task_id": ["x"], "text": ["a"]}
NEVER_AGAIN = LoadRetries(0, 3600)
AT_ONCE = LoadRetries(2, 0)


def follow(base, **settings):
    return ModelVersions(base, model_name="echo", **settings)


def states(versions):
    return {number: state.state for number, state in versions.states().items()}


def add_broken_version(base, number):
    (base / str(number)).mkdir()
    (base / str(number) / "saved_model.pb").write_bytes(b"not a graph")


# === Hand-over ===


def test_a_new_version_takes_over_without_a_failed_request(base, exported, tmp_path):
    scores, errors = [], []
    stop = threading.Event()

    with (
        ModelServer(base, model_name="echo", grpc_port=0, rest_port=None, poll_interval_s=0.1) as server,
        PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="echo", max_retries=0) as client,
    ):

        def ask():
            while not stop.is_set():
                try:
                    scores.append(client.generate(["abc"], task_id="x")[0].score)
                except ServingError as error:
                    errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: scores)
        shutil.copytree(exported / "2", tmp_path / "incoming")
        os.rename(tmp_path / "incoming", base / "2")
        wait_until(lambda: scores[-1] == 203.0)
        stop.set()
        for thread in threads:
            thread.join()
        wait_until(lambda: client.status() == [(2, "AVAILABLE"), (1, "END")])
        old = PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="echo", version=1)
        with pytest.raises(ServingError, match=r"Specific\(echo, 1\)"), old:
            old.generate(["abc"], task_id="x")

    assert not errors
    assert set(scores) == {103.0, 203.0}


def test_a_version_in_use_stays_in_memory_until_it_is_let_go(base, exported):
    versions = follow(base)
    versions.poll()
    in_use = versions.available[1]

    shutil.copytree(exported / "2", base / "2")
    versions.poll()

    assert states(versions) == {1: "UNLOADING", 2: "AVAILABLE"}
    gc.collect()
    assert in_use.functions["serving_default"](**{k: tf.constant(v) for k, v in GOOD.items()})["score"] == 101.0
    del in_use
    assert states(versions) == {1: "END", 2: "AVAILABLE"}


def test_memory_is_given_back_once_a_version_is_let_go_by_its_last_request(base, exported, monkeypatch):
    given_back = []
    monkeypatch.setattr(model_versions, "return_freed_memory", lambda: given_back.append(states(versions)))
    versions = follow(base)
    versions.poll()
    in_use = versions.available[1]
    shutil.copytree(exported / "2", base / "2")
    versions.poll()
    versions.poll()
    assert given_back == []  # a request still runs on version 1

    del in_use
    versions.poll()
    versions.poll()

    assert given_back == [{1: "END", 2: "AVAILABLE"}]


# === Policies ===


@pytest.mark.parametrize(
    ("policy", "loaded"),
    [
        (VersionPolicy("latest"), {2}),
        (VersionPolicy("latest", num_versions=2), {1, 2}),
        (VersionPolicy("all"), {1, 2}),
        (VersionPolicy("specific", versions=frozenset({1, 7})), {1}),
    ],
    ids=["latest", "latest two", "all", "specific"],
)
def test_the_policy_says_which_versions_are_loaded(base, exported, policy, loaded):
    shutil.copytree(exported / "2", base / "2")
    versions = follow(base, policy=policy)

    versions.poll()

    assert set(versions.available) == loaded


def test_a_policy_that_changes_unloads_what_it_no_longer_wants(base, exported):
    shutil.copytree(exported / "2", base / "2")
    versions = follow(base, policy=VersionPolicy("all"))
    versions.poll()

    versions.policy = VersionPolicy("specific", versions=frozenset({1}))
    versions.poll()

    assert set(versions.available) == {1}


def test_only_the_wanted_version_is_loaded_even_where_it_is_broken(base):
    add_broken_version(base, 2)
    versions = follow(base)

    versions.poll()

    assert not versions.available
    assert list(versions.failures()) == [2]


# === Versions that do not load ===


def test_a_version_that_does_not_load_leaves_the_old_one(base, caplog):
    versions = follow(base)
    versions.poll()
    add_broken_version(base, 2)

    versions.poll()
    versions.poll()

    assert set(versions.available) == {1}
    assert states(versions) == {1: "AVAILABLE", 2: "LOADING"}  # as TF Serving: it will be tried again
    assert caplog.text.count("Version 2 of model echo does not load") == 1
    assert len(caplog.records[-1].getMessage().splitlines()) == 1


def test_after_the_last_try_its_state_is_end_with_the_reason(base, caplog):
    versions = follow(base, retries=AT_ONCE)
    add_broken_version(base, 2)

    for _ in range(5):
        versions.poll()

    assert caplog.text.count("does not load") == 3
    state = versions.states()[2]
    assert (state.state, state.error_code) == ("END", 11)  # OUT_OF_RANGE, from TensorFlow's own reader
    assert state.error_message == "Read less bytes than requested"


def test_a_repaired_version_is_tried_again_once_its_files_keep_still(base, exported):
    versions = follow(base, retries=NEVER_AGAIN)
    versions.poll()
    add_broken_version(base, 2)
    versions.poll()
    assert states(versions)[2] == "END"

    shutil.rmtree(base / "2")
    shutil.copytree(exported / "2", base / "2")
    versions.poll()
    assert set(versions.available) == {1}
    versions.poll()

    assert states(versions) == {1: "END", 2: "AVAILABLE"}


def test_a_half_written_version_is_loaded_when_the_rest_arrives(base, exported):
    versions = follow(base, retries=NEVER_AGAIN)
    versions.poll()
    copy_half(exported / "2", base / "2")
    versions.poll()
    assert set(versions.available) == {1}

    shutil.copytree(exported / "2", base / "2", dirs_exist_ok=True)
    versions.poll()
    versions.poll()

    assert set(versions.available) == {2}


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: bytes([data[0] ^ 1]) + data[1:]])
def test_a_corrupt_shard_is_noticed(base, exported, damage):
    versions = follow(base, retries=NEVER_AGAIN)
    versions.poll()
    shutil.copytree(exported / "2", base / "2")
    (shard,) = (base / "2" / "variables").glob("variables.data-*")
    shard.write_bytes(damage(shard.read_bytes()))

    versions.poll()

    assert set(versions.available) == {1}
    assert states(versions)[2] == "END"


def test_a_broken_version_that_goes_away_is_given_up(base):
    versions = follow(base)
    versions.poll()
    add_broken_version(base, 2)
    versions.poll()

    shutil.rmtree(base / "2")
    versions.poll()

    assert states(versions) == {1: "AVAILABLE", 2: "END"}
    assert not versions.failures()


# === Versions that go away ===


def test_removing_the_newest_version_goes_back_to_the_one_before(base, exported):
    shutil.copytree(exported / "2", base / "2")
    versions = follow(base)
    versions.poll()
    assert set(versions.available) == {2}

    shutil.rmtree(base / "2")
    versions.poll()

    assert states(versions) == {1: "AVAILABLE", 2: "END"}


def test_a_base_path_that_cannot_be_read_keeps_what_is_loaded(base, caplog, monkeypatch):
    versions = follow(base)
    versions.poll()

    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", fail)
    for _ in range(2):
        versions.poll()

    assert set(versions.available) == {1}
    assert caplog.text.count(f"Could not read base path {base} for servable echo: [Errno 13] Permission denied") == 1


def test_a_base_path_that_goes_away_keeps_what_is_loaded(base, caplog):
    versions = follow(base)
    versions.poll()

    shutil.rmtree(base)
    versions.poll()
    versions.poll()

    assert set(versions.available) == {1}
    assert caplog.text.count(f"Could not find base path {base} for servable echo") == 1


def test_an_emptied_base_path_unloads_as_tf_serving_does(base, caplog):
    versions = follow(base)
    versions.poll()

    shutil.rmtree(base / "1")
    versions.poll()

    assert not versions.available
    assert caplog.text.count("No versions of servable echo found under base path") == 1


# === One version ===


def test_entries_whose_names_are_integers_are_versions(tmp_path):
    too_large = str(2**63)
    for name in ("1", "00012", "+3", " 4", "-0", "x", "-3", "2.tmp", "\u0663", "1e3", "+", too_large, "9" * 20):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")

    names = {0: "-0", 1: "1", 3: "+3", 4: " 4", 7: "7", 12: "00012"}
    assert find_versions(tmp_path) == {number: tmp_path / name for number, name in names.items()}


def test_a_file_in_the_place_of_a_version_does_not_load_and_the_old_one_stays(base):
    versions = follow(base, retries=NEVER_AGAIN)
    versions.poll()
    (base / "2").write_text("a file")
    versions.poll()

    assert states(versions) == {1: "AVAILABLE", 2: "END"}
    state = versions.states()[2]
    assert state.error_code == 5  # NOT_FOUND
    assert state.error_message.startswith("Could not find SavedModel .pb or .pbtxt at supplied export directory path")


def test_a_version_whose_name_has_a_sign_is_served(base):
    (base / "1").rename(base / "+1")
    versions = follow(base)
    versions.poll()

    assert set(versions.available) == {1}


def write_warmup(version_directory, requests):
    path = version_directory / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def test_warmup_requests_are_run(base):
    model = load_version(base / "1", model_name="echo", version=1)
    write_warmup(base / "1", [predict_request(GOOD), predict_request(GOOD, signature="classify", name="other")])

    assert run_warmup(model, base / "1") == 2


@pytest.mark.parametrize(
    ("count", "inputs", "message"),
    [
        (1, {"text": ["a"]}, "input size does not match signature"),
        (1001, GOOD, r"Number of warmup records exceeds the maximum \(1000\)"),
    ],
    ids=["a bad request", "too many"],
)
def test_a_failing_warmup_fails_the_start(base, count, inputs, message):
    write_warmup(base / "1", [predict_request(inputs)] * count)

    with pytest.raises(ServingError, match=message):
        ModelServer(base, model_name="echo", grpc_port=0, rest_port=None).start()


def test_a_warmup_request_of_more_rows_than_a_batch_fails_the_load(base):
    write_warmup(base / "1", [predict_request({"task_id": ["x"] * 3, "text": ["a"] * 3})])
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=2, num_batch_threads=1))
    versions = follow(base, scheduler=scheduler)

    versions.poll()
    scheduler.close()

    assert versions.failures() == {1: "Task size 3 is larger than maximum input batch size 2"}
