"""Tasks come and go without the backbone being written again, and the others answer as they did, bit for bit."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from asked_versions import ask_once, asked_ahead, twin_of
from tiny_t5 import make_tiny_t5

from softprompt_tf.errors import BackboneError, BackboneMismatchError, ExportError, PromptFileError, VerificationError
from softprompt_tf.export import add_tasks, list_tasks, remove_tasks, write_saved_model
from softprompt_tf.export.bulk.export_version import find_version
from softprompt_tf.export.versions.task_changes import ListedTask
from softprompt_tf.export.versions.verify_change import probe_requests
from softprompt_tf.methods import write_prompt

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

TEXTS = ["a charming film", "", "seven boats left the harbour and six came back"]
OLD = ("mood", "story", "reply")
SIGNATURES = ("serving_default", "classify", "score")
BACKBONE_FILE = "variables/variables.data-00000-of-{:05d}"


def new_prompt(tiny_t5, *, length=20, seed=5, **fields):
    """A task with a longer prompt, more labels and longer ones than the three that are there."""
    given = {"labels": ("yes", "no", "a warm picture of family life", "dull", "good"), "max_target_tokens": 12}
    from softprompt_tf.methods import TaskPrompt

    return TaskPrompt(
        prompt=1.5 * np.random.default_rng(seed).normal(size=(length, 16)).astype(np.float32),
        backbone=tiny_t5.name,
        backbone_fingerprint=tiny_t5.fingerprint,
        tokenizer_fingerprint=tiny_t5.tokenizer_fingerprint,
        template="review: {text}",
        **{**given, **fields},
    )


@pytest.fixture
def base(base_directory, tmp_path):
    """A copy of the export of three tasks, version 1."""
    shutil.copytree(base_directory / "1", tmp_path / "tiny" / "1")
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def added(base_directory, tiny_t5, asked_once, tmp_path_factory):
    """A base directory with version 1, and version 2 with one task more, checked when it was written."""
    base = tmp_path_factory.mktemp("added") / "tiny"
    shutil.copytree(base_directory / "1", base / "1")
    batches = (OLD, ["review", "mood", "nobody"], ["story", "review"])
    asked = [request for batch in batches for request in requests_of(batch)]
    checked = (OLD, ["story", "reply"], ["story", "review"], [*OLD, "review"])  # what checks of further changes ask
    probes = [request for tasks in checked for request in probe_requests(tasks).values()]
    with asked_ahead([*asked, *probes]):  # all in one process for each version
        add_tasks(base, {"review": new_prompt(tiny_t5)})
        ask_once(base / "1", probes)  # where the version was checked by another file of tests
    return base


def inputs_of(task_ids):
    mixed = {"task_id": [task for task in task_ids for _ in TEXTS], "text": TEXTS * len(task_ids)}
    return {
        "serving_default": mixed,
        "classify": mixed,
        "score": {**mixed, "target": ["nobody could say"] * len(mixed["text"])},
    }


def requests_of(task_ids, signatures=SIGNATURES):
    inputs = inputs_of(task_ids)
    return [{"signature": name, "inputs": inputs[name]} for name in signatures]


def answers_of(version, task_ids, signatures=SIGNATURES):
    return dict(zip(signatures, ask_once(version, requests_of(task_ids, signatures)), strict=True))


def files_of(version):
    return {str(path.relative_to(version)): path.stat() for path in version.rglob("*") if path.is_file()}


def content_of(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")
    }


# === What is written ===


def test_backbone_graph_and_prompts_are_the_same_file_in_both_versions(added):
    old, new = files_of(added / "1"), files_of(added / "2")

    assert new[BACKBONE_FILE.format(4)].st_ino == old[BACKBONE_FILE.format(3)].st_ino
    assert (
        new["variables/variables.data-00002-of-00004"].st_ino == old["variables/variables.data-00002-of-00003"].st_ino
    )
    same = {name for name in old if name in new and new[name].st_ino == old[name].st_ino}
    assert same == {"saved_model.pb", "assets.extra/softprompt_tf.json", "assets.extra/tf_serving_warmup_requests"}
    assert [entry.name for entry in sorted(added.iterdir())] == ["1", "2"]
    assert (added / "2").stat().st_mode & 0o777 == 0o755


def test_an_addition_writes_its_prompt_and_64_kilobytes_at_most(base, tiny_t5):
    many = {f"task{k}": new_prompt(tiny_t5, length=100, seed=k) for k in range(40)}  # 256 kB of prompts
    before = add_tasks(base, many, verify=False)

    after = add_tasks(base, {"last": new_prompt(tiny_t5, length=100)}, verify=False)

    known = {status.st_ino for status in files_of(before).values()}
    written = sum(status.st_size for status in files_of(after).values() if status.st_ino not in known)
    assert 100 * 16 * 4 < written <= 1.1 * 100 * 16 * 4 + 65536


def test_tensorflows_fingerprint_is_that_of_the_version(added):
    import tensorflow as tf

    first, second = (tf.saved_model.experimental.read_fingerprint(str(added / version)) for version in "12")
    content = np.frombuffer((added / "2" / "variables" / "variables.index").read_bytes(), np.uint8)
    hashed = int.from_bytes(tf.fingerprint(content[None]).numpy().tobytes(), "little")
    assert (second.checkpoint_hash, second.saved_model_checksum) == (hashed, first.saved_model_checksum)
    assert second.checkpoint_hash != first.checkpoint_hash


def test_a_file_system_without_hard_links_gets_copies(base, tiny_t5, monkeypatch):
    from softprompt_tf.export.versions import task_shards

    def refuse(*arguments):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(task_shards.os, "link", refuse)
    version = add_tasks(base, {"review": new_prompt(tiny_t5)})

    old, new = base / "1" / BACKBONE_FILE.format(3), version / BACKBONE_FILE.format(4)
    assert old.stat().st_ino != new.stat().st_ino
    assert old.read_bytes() == new.read_bytes()


def test_many_additions_are_written_into_one_file_in_the_end(base, tiny_t5, monkeypatch):
    from softprompt_tf.export.versions import task_shards

    monkeypatch.setattr(task_shards, "MAX_PROMPT_FILES", 3)
    monkeypatch.setattr(task_shards, "_PART_BYTES", 3 * 16 * 4)  # three rows of a prompt in each part
    counts = []
    for k in range(4):
        version = add_tasks(base, {f"task{k}": new_prompt(tiny_t5, seed=k)}, verify=False)
        counts.append(len(list(version.glob("variables/*.data-*"))))

    assert counts == [4, 5, 3, 4]
    stored = task_shards.StoredTasks.read(version)
    assert [task.task_id for task in stored.rows] == [*OLD, "task0", "task1", "task2", "task3"]
    for k, prompt in enumerate(stored.prompts()[3:]):
        np.testing.assert_array_equal(prompt, new_prompt(tiny_t5, seed=k).prompt)


# === What is answered ===


def test_tasks_that_were_there_answer_bit_for_bit_as_before(added):
    before, after = answers_of(added / "1", OLD), answers_of(added / "2", OLD)

    for signature, outputs in before.items():
        for name, values in outputs.items():
            got = after[signature][name]
            np.testing.assert_array_equal(got[:, :3] if values.ndim == 2 else got, values)
    assert after["classify"]["labels"].shape[1] == 5
    assert (after["classify"]["labels"][:, 3:] == b"").all()
    assert (after["classify"]["log_probabilities"][:, 3:] == -1e9).all()


def test_an_added_task_answers_as_in_an_export_written_anew(added, tiny_t5, task_prompts, tmp_path):
    fresh = write_saved_model(tmp_path, tiny_t5, {**task_prompts, "review": new_prompt(tiny_t5)}, verify=False)

    expected, got = (answers_of(version, ["review", "mood", "nobody"]) for version in (fresh, added / "2"))

    for signature, outputs in expected.items():
        for name, values in outputs.items():
            np.testing.assert_array_equal(got[signature][name], values)
    unknown = "Unknown task id 'nobody'. Known: mood, story, reply, review."
    assert got["score"]["status"].tolist() == [b""] * 6 + [unknown.encode()] * 3


def test_a_task_may_be_added_to_a_version_that_was_added_to(added, tiny_t5, tmp_path):
    shutil.copytree(added / "2", tmp_path / "2")

    version = add_tasks(tmp_path, {"third": new_prompt(tiny_t5, seed=6)}, t5=tiny_t5)

    assert version == tmp_path / "3"
    assert [task.task_id for task in list_tasks(tmp_path)] == [*OLD, "review", "third"]


def test_removing_a_task_leaves_the_others_as_they_are(added, tmp_path):
    shutil.copytree(added / "2", tmp_path / "2")

    with asked_ahead(requests_of(["story", "review"])):
        version = remove_tasks(tmp_path, ["mood", "reply"])

    before, after = (answers_of(directory, ["story", "review"]) for directory in (tmp_path / "2", version))
    for signature, outputs in before.items():
        for name, values in outputs.items():
            np.testing.assert_array_equal(after[signature][name], values)
    backbones = [tmp_path / "2" / BACKBONE_FILE.format(4), version / BACKBONE_FILE.format(3)]
    assert backbones[0].stat().st_ino == backbones[1].stat().st_ino


def test_an_addition_to_an_export_with_a_large_warm_up_writes_a_small_one(base, tiny_t5):
    from tensorflow import data, io

    file = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    requests = list(data.TFRecordDataset(str(file)).as_numpy_iterator())
    with io.TFRecordWriter(str(file)) as writer:  # as earlier versions of this library: the second half has more rows
        for request in [*requests, *requests]:
            writer.write(request)
    before = file.read_bytes()

    version = add_tasks(base, {"review": new_prompt(tiny_t5)}, verify=False)

    after = version / "assets.extra" / "tf_serving_warmup_requests"
    assert list(data.TFRecordDataset(str(after)).as_numpy_iterator()) == requests
    assert file.read_bytes() == before


def test_the_warm_up_of_a_version_names_the_tasks_that_it_has(base):
    from tensorflow import data, make_ndarray
    from tensorflow_serving.apis import prediction_log_pb2

    before = (base / "1" / "assets.extra" / "tf_serving_warmup_requests").read_bytes()
    version = remove_tasks(base, ["mood"], verify=False)

    file = "assets.extra/tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in data.TFRecordDataset(str(version / file)).as_numpy_iterator()
    ]
    named = [
        make_ndarray(log.predict_log.request.inputs["task_id"])
        for log in logs
        if log.predict_log.request.inputs["task_id"].dtype
    ]
    assert set(np.concatenate(named)) == {b"story"}
    assert (base / "1" / file).read_bytes() == before


def test_a_removed_task_is_unknown(base):
    version = remove_tasks(base, ["mood"], verify=False)

    status = answers_of(version, ["mood"], ["score"])["score"]["status"]
    assert status.tolist() == [b"Unknown task id 'mood'. Known: story, reply."] * 3


def test_a_replaced_task_keeps_its_place_and_answers_anew(base, added, tiny_t5, keras_models):
    with asked_ahead(requests_of(["story"], ["serving_default"])):
        version = add_tasks(base, {"mood": new_prompt(tiny_t5)}, replace=True, t5=tiny_t5)

    assert [task.task_id for task in list_tasks(base)] == list(OLD)
    assert list_tasks(base)[0].prompt_length == 20
    answers = answers_of(version, ["story"], ["serving_default"])["serving_default"]
    assert [text.decode() for text in answers["output"]] == keras_models["story"].generate(TEXTS)


def test_tasks_are_listed_in_their_order(added):
    assert list_tasks(added) == (
        ListedTask("mood", 3, ("negative", "positive"), 3 * 16 * 4),
        ListedTask("story", 7, (), 7 * 16 * 4),
        ListedTask("reply", 12, ("yes", "no", "nobody could say"), 12 * 16 * 4),
        ListedTask("review", 20, ("yes", "no", "a warm picture of family life", "dull", "good"), 20 * 16 * 4),
    )


@pytest.mark.parametrize("table_dtype", [pytest.param("bfloat16", marks=pytest.mark.slow), "float16"])
def test_prompts_may_be_stored_in_half_the_bytes(tiny_t5, task_prompts, tmp_path, table_dtype):
    write_saved_model(tmp_path, tiny_t5, {"story": task_prompts["story"]}, table_dtype=table_dtype, verify=False)

    version = add_tasks(tmp_path, {"review": new_prompt(tiny_t5)}, t5=tiny_t5)

    sizes = [version / f"variables/variables.data-{number:05d}-of-00004" for number in (2, 3)]
    assert [path.stat().st_size for path in sizes] == [(1 + 7) * 16 * 2, 20 * 16 * 2]
    assert [task.num_bytes for task in list_tasks(tmp_path)] == [7 * 16 * 2, 20 * 16 * 2]


def test_a_task_is_added_without_kerashub(two_writers):
    assert [told[-1] for _, told in two_writers[1]] == ["False", "False"]


# === Two writers, and killed ones ===


def test_a_version_that_appears_meanwhile_is_added_to(base, tiny_t5, monkeypatch):
    from softprompt_tf.export.versions import changed_version

    publish = changed_version.publish
    others = iter([("other", None), ("another", None), ("named", 7)])

    def after_another_process(staging, target, **options):
        name, number = next(others, (None, None))
        if name:
            add_tasks(base, {name: new_prompt(tiny_t5, seed=9)}, version=number, verify=False)
        return publish(staging, target, **options)

    monkeypatch.setattr(changed_version, "publish", after_another_process)
    version = add_tasks(base, {"review": new_prompt(tiny_t5)}, verify=False)

    names = [task.task_id for task in list_tasks(base)]
    assert version.name == "10"
    assert sorted(names) == sorted([*OLD, "review", "other", "another", "named"])
    assert sorted(int(entry.name) for entry in base.iterdir()) == [1, 7, 8, 9, 10]


@pytest.fixture(scope="module")
def two_writers(base_directory, tiny_t5, tmp_path_factory):
    """A base directory to which two processes added a task each at once; their exit statuses and what they told."""
    place = tmp_path_factory.mktemp("two_writers")
    shutil.copytree(base_directory / "1", place / "tiny" / "1")
    code = (
        "import sys; from softprompt_tf.export import add_tasks; "
        "add_tasks(sys.argv[1], {sys.argv[2]: sys.argv[3]}, verify=False); print('keras_hub' in sys.modules)"
    )
    processes = []
    for name in ("left", "right"):
        file = write_prompt(place / f"{name}.safetensors", new_prompt(tiny_t5))
        command = [sys.executable, "-c", code, str(place / "tiny"), name, str(file)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    told = [process.communicate()[0].split() for process in processes]
    return place / "tiny", [(process.returncode, words) for process, words in zip(processes, told, strict=True)]


def test_two_processes_add_at_once_and_nothing_is_lost(two_writers):
    base, ended = two_writers

    assert [status for status, _ in ended] == [0, 0]
    assert sorted(task.task_id for task in list_tasks(base)) == sorted([*OLD, "left", "right"])
    assert sorted(entry.name for entry in base.iterdir()) == ["1", "2", "3"]


def test_a_failed_check_leaves_the_directory_as_it_was(base, tiny_t5, monkeypatch):
    from softprompt_tf.export.versions import changed_version

    def differ(*arguments, **keywords):
        raise VerificationError("it answers otherwise")

    monkeypatch.setattr(changed_version, "verify_change", differ)
    before = content_of(base)

    with pytest.raises(VerificationError):
        add_tasks(base, {"review": new_prompt(tiny_t5)})

    assert content_of(base) == before


# === Refusals ===


@pytest.fixture
def small_disk():
    """The system itself refuses to write a file of more than 8 KiB, as it refuses to write to a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_the_export_as_it_was(base, tiny_t5, small_disk):
    before = content_of(base)

    with pytest.raises(ExportError, match=f"The export to {base} cannot be written: .*(File too large|write)"):
        add_tasks(base, {"long": new_prompt(tiny_t5, length=400)}, verify=False)  # 25,600 bytes

    small_disk()
    assert content_of(base) == before
    assert add_tasks(base, {"long": new_prompt(tiny_t5, length=400)}, verify=False).name == "2"


def test_a_task_that_is_there_is_not_replaced_unasked(base, tiny_t5, tmp_path):
    file = write_prompt(tmp_path / "other.safetensors", new_prompt(tiny_t5))

    with pytest.raises(
        ExportError,
        match=r"Received: task 'mood', prompt .*other.safetensors; .*tiny/1 holds a task of that name. .*pass `replace`",
    ):
        add_tasks(base, {"mood": file})

    assert [entry.name for entry in base.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["mod", "mood"],
            r"Only tasks that are there can be removed. Received: \['mod'\]. .*/1 holds: mood, story, reply.",
        ),
        ([], r"Only tasks that are there can be removed. Received: \[\]."),
        ("mood", "Only tasks that are there can be removed. Received: "),
        (OLD, r"keeps at least one task. Received: \['mood', 'story', 'reply'\], all that .*/1 holds."),
    ],
    ids=["unknown", "none", "a string", "all"],
)
def test_what_cannot_be_removed_is_told(base, names, message):
    with pytest.raises(ExportError, match=message):
        remove_tasks(base, names)


def test_a_prompt_of_another_backbone_is_refused(base, unlike_backbone):
    with pytest.raises(BackboneMismatchError, match=r"t5_elsewhere.*tiny-3-1-layers \(fingerprint t5:"):
        add_tasks(base, {"foreign": unlike_backbone})


def test_another_t5_is_refused_for_the_comparison(base, tiny_t5):
    other = make_tiny_t5(seed=1)

    with pytest.raises(ExportError, match="`t5` must be the export's backbone, tiny-3.*Received: tiny-1-2-layers"):
        add_tasks(base, {"review": new_prompt(tiny_t5)}, t5=other)


def test_a_task_of_longer_answers_than_any_before_is_added(base, tiny_t5):
    prompt = new_prompt(tiny_t5, seed=1, max_target_tokens=90)
    with asked_ahead(requests_of(["long", "mood"], ["serving_default"])):
        version = add_tasks(base, {"long": prompt}, t5=tiny_t5)

    given = answers_of(version, ["long", "mood"], ["serving_default"])["serving_default"]
    expected = twin_of(tiny_t5, [prompt]).generate_scored([f"review: {text}" for text in TEXTS])
    assert [text.decode() for text in given["output"][:3]] == [answer.text for answer in expected]
    np.testing.assert_allclose(given["score"][:3], [answer.score for answer in expected], rtol=1e-5, atol=1e-4)


def test_a_task_of_longer_answers_than_an_older_graph_decodes_is_refused(base, tiny_t5):
    path = base / "1" / "assets.extra" / "softprompt_tf.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_answer_tokens": 33}))
    prompt = new_prompt(tiny_t5, max_target_tokens=34)

    with pytest.raises(ExportError, match=r"decodes at most 33 tokens. Received: task 'long' with 34. Write .* again"):
        add_tasks(base, {"long": prompt})


def test_a_sentinel_that_the_backbone_lacks_is_refused(base, tiny_t5):
    with pytest.raises(BackboneError, match="must have a row for sentinel <extra_id_0>. Received: model tiny-3"):
        add_tasks(base, {"opened": new_prompt(tiny_t5, target_format="sentinel")})


def test_an_export_without_a_record_is_refused(base, tiny_t5):
    (base / "1" / "assets.extra" / "softprompt_tf.json").unlink()

    for change in (lambda: add_tasks(base, {"review": new_prompt(tiny_t5)}), lambda: list_tasks(base)):
        with pytest.raises(ExportError, match=r"that record their backbone. Received: .*/1, without .*Write it anew"):
            change()


@pytest.mark.parametrize("damage", ["no JSON", "another format", "a field too many", "nested too deep"])
def test_a_damaged_record_is_refused(base, damage):
    path = base / "1" / "assets.extra" / "softprompt_tf.json"
    record = json.loads(path.read_text())
    path.write_text(
        {
            "no JSON": "{",
            "another format": json.dumps({**record, "format": "softprompt-tf-export/2"}),
            "a field too many": json.dumps({**record, "more": 1}),
            "nested too deep": "[" * 100_000,
        }[damage]
    )

    with pytest.raises(ExportError, match="The record of an export must be readable. Received: .*softprompt_tf.json: "):
        list_tasks(base)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "saved_model.pb",
            "missing",
            "The graph of an export must be readable. Received: .*saved_model.pb: .*No such file",
        ),
        ("saved_model.pb", "cut", "The graph of an export must be readable. Received: .*saved_model.pb: Error parsing"),
        ("fingerprint.pb", "cut", "The fingerprint of an export must be readable. Received: .*fingerprint.pb: Error"),
        (
            "variables/variables.data-00001-of-00003",
            "cut",
            "The tasks of an export must be readable. Received: .*: Read less",
        ),
        (
            "variables/variables.data-00002-of-00003",
            "cut",
            "The prompts of .* must be readable. Received: Read less bytes",
        ),
    ],
)
def test_a_damaged_version_is_refused_and_nothing_is_written(base, tiny_t5, name, damage, message):
    path = base / "1" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])

    with pytest.raises(ExportError, match=message):
        add_tasks(base, {"mood": new_prompt(tiny_t5)}, replace=True, verify=False)
    assert [version.name for version in base.iterdir()] == ["1"]


def test_a_server_may_read_a_version_as_the_one_before_whatever_the_mask_of_the_writer(base, tiny_t5):
    mask = os.umask(0o077)
    try:
        add_tasks(base, {"review": new_prompt(tiny_t5)}, verify=False)
    finally:
        os.umask(mask)

    modes = {path.is_dir(): set() for path in (base / "2").rglob("*")}
    for path in (base / "2").rglob("*"):
        modes[path.is_dir()].add(path.stat().st_mode & 0o055)
    assert modes == {True: {0o055}, False: {0o044}}


def test_a_directory_without_versions_is_refused(base, tiny_t5, tmp_path):
    with pytest.raises(ExportError, match="with no version. Write one with `softprompt export"):
        add_tasks(tmp_path / "nothing", {"review": new_prompt(tiny_t5)})
    with pytest.raises(ExportError, match="with no version. Pass the base directory, .*tiny."):
        add_tasks(base / "1", {"review": new_prompt(tiny_t5)})

    assert not (tmp_path / "nothing").exists()


def test_a_version_that_exists_or_cannot_be_is_refused(base, tiny_t5):
    with pytest.raises(ExportError, match="never overwritten. Received: .*/1."):
        add_tasks(base, {"review": new_prompt(tiny_t5)}, version=1)
    with pytest.raises(ExportError, match="`version` must be from 0 to 9223372036854775807. Received: version=-1."):
        remove_tasks(base, ["mood"], version=-1)

    assert add_tasks(base, {"review": new_prompt(tiny_t5)}, version=7, verify=False) == base / "7"


def test_a_version_below_the_newest_is_refused_and_nothing_is_written(base, tiny_t5):
    """A server would not look at it, and the next change would be made without its tasks."""
    (base / "1").rename(base / "5")
    before = content_of(base)

    for change in (
        lambda: add_tasks(base, {"review": new_prompt(tiny_t5)}, version=4, verify=False),
        lambda: remove_tasks(base, ["mood"], version=0, verify=False),
        lambda: write_saved_model(base, tiny_t5, {"review": new_prompt(tiny_t5)}, version=2, verify=False),
    ):
        with pytest.raises(
            ExportError,
            match="must have a higher number than the newest, 5 in .* above 5: .* names its versions .* another directory",
        ):
            change()

    assert content_of(base) == before


def test_a_version_that_a_newer_one_overtakes_while_it_is_written_is_refused(base, tiny_t5, monkeypatch):
    from softprompt_tf.export.versions import saved_model

    publish = saved_model.publish

    def after_another_process(staging, target, **options):
        (base / "9").mkdir()
        return publish(staging, target, **options)

    monkeypatch.setattr(saved_model, "publish", after_another_process)

    with pytest.raises(ExportError, match="must have a higher number than the newest, 9 in .* version=4"):
        write_saved_model(base, tiny_t5, {"review": new_prompt(tiny_t5)}, version=4, verify=False)

    assert sorted(entry.name for entry in base.iterdir()) == ["1", "9"]


@pytest.mark.parametrize("name", ["0001", "+1"])
def test_a_version_is_found_however_its_number_is_written(base, tiny_t5, name):
    (base / "1").rename(base / name)

    assert [task.task_id for task in list_tasks(base)] == list(OLD)
    assert find_version(base).directory == base / name
    assert add_tasks(base, {"review": new_prompt(tiny_t5)}, verify=False) == base / "2"
    assert [task.task_id for task in list_tasks(base)] == [*OLD, "review"]


def test_tasks_to_remove_may_come_from_an_iterator(base):
    remove_tasks(base, iter(["story"]), verify=False)

    assert [task.task_id for task in list_tasks(base)] == ["mood", "reply"]


def test_a_prompt_file_that_is_missing_is_refused(base, tmp_path):
    with pytest.raises(PromptFileError, match="none.safetensors"):
        add_tasks(base, {"review": tmp_path / "none.safetensors"})


def test_no_prompts_are_refused(base):
    with pytest.raises(ExportError, match="at least one task, each with a name. Received: "):
        add_tasks(base, {})
