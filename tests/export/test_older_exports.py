"""An export that was written before tasks had named tensors: two_tasks.tar.xz, and what it answered then, two_tasks.json.

It holds the tiny T5 and two tasks, one of them an ensemble of two prompts. A plain export of today has the same files.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from asked_versions import ask_once, asked_ahead
from tensorflow.core.protobuf import saved_model_pb2

from softprompt_tf.errors import ExportError
from softprompt_tf.export import add_tasks, list_tasks, write_saved_model
from softprompt_tf.export.graph.served_backbone import RECORD_FILE
from softprompt_tf.export.versions.checkpoint_index import read_index
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.version import __version__

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

OLDER = Path(__file__).parent / "older"
RECORDED = json.loads((OLDER / "two_tasks.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    place = tmp_path_factory.mktemp("older")
    with tarfile.open(OLDER / "two_tasks.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / "export"


def prompts():
    """The tasks of the export, drawn as they were then."""
    generator = np.random.default_rng(8)

    def rows(length):
        return generator.normal(size=(length, 16)).astype(np.float32)

    labels = {"template": "film: {text}", "labels": ("good", "bad"), "max_target_tokens": 4}
    mood = TaskPrompt(rows(2), task_id="mood", **labels)
    return {"mood": mood, "story": [TaskPrompt(rows(3), max_target_tokens=6) for _ in range(2)]}


def assert_answers(version):
    requests = RECORDED["requests"]
    answers = ask_once(version, list(requests.values()))
    for (signature, wanted), found in zip(RECORDED["answers"].items(), answers, strict=True):
        for name, values in wanted.items():
            got = found[name]
            if got.dtype == object:
                assert np.vectorize(bytes.decode)(got).tolist() == values, (signature, name)
            else:
                np.testing.assert_allclose(got, values, atol=1e-4, err_msg=f"{signature}, {name}")


def test_an_older_export_answers_as_it_did_and_takes_a_task(older):
    assert [(task.task_id, task.prompt_length, task.num_bytes) for task in list_tasks(older)] == [
        ("mood", 2, 128),
        ("story", 3, 384),
    ]

    with asked_ahead(list(RECORDED["requests"].values())):
        version = add_tasks(older, {"more": TaskPrompt(np.ones((1, 16), np.float32))})  # checks those before

    assert [task.task_id for task in list_tasks(older)] == ["mood", "story", "more"]
    assert_answers(version)


def test_an_older_export_takes_no_task_of_other_tensors(older):
    task = TaskPrompt(tensors={"decoder_key_values": np.zeros((2, 2, 2, 2, 6), np.float32)}, method="prefix_tuning")

    with pytest.raises(ExportError, match=r"tables of prompt alone\. Received: task 'deep' .*Write the export again"):
        add_tasks(older, {"deep": task})


def num_nodes(version):
    """Return how many operations answer rows: those of the graph and its functions, but for what lists the tasks."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    (meta_graph,) = saved.meta_graphs
    functions = {function.signature.name: function.node_def for function in meta_graph.graph_def.library.function}

    def below(nodes):
        called = {attr.func.name for node in nodes for attr in node.attr.values() if attr.HasField("func")}
        return called.union(*(below(functions[name]) for name in called))

    outputs = meta_graph.signature_def["tasks"].outputs if "tasks" in meta_graph.signature_def else {}
    listing = {output.name.partition(":")[0] for output in outputs.values()}
    nodes = [node for node in meta_graph.graph_def.node if node.name not in listing]
    return len(nodes) + sum(len(functions[name]) for name in below(nodes))


def test_prompts_alone_are_written_as_they_were(older, two_layer_t5, tmp_path):
    version = write_saved_model(tmp_path / "export", two_layer_t5, prompts(), verify=False)
    before = older / "1"

    files = sorted(path.relative_to(before) for path in before.rglob("*") if path.is_file())
    assert sorted(path.relative_to(version) for path in version.rglob("*") if path.is_file()) == files
    for path in files:
        if path.name.startswith("variables.data") and "00000-of" not in path.name:
            assert (version / path).read_bytes() == (before / path).read_bytes(), path
    record, record_before = (json.loads((directory / RECORD_FILE).read_bytes()) for directory in (version, before))
    record_before["sampler"]["module"] = None  # where the class was then; it is found by its registered name
    assert (record.pop("library_version"), record_before.pop("library_version")) == (__version__, "0.1.0")
    assert record == record_before
    index = Path("variables") / "variables.index"
    entries, entries_before = (read_index(directory / index) for directory in (version, before))
    assert list(entries) == list(entries_before)
    for (
        key,
        entry,
    ) in entries.items():  # file, place, size and checksum of each tensor; the names of layers are their own affair
        assert entry == entries_before[key] or key == b"_CHECKPOINTABLE_OBJECT_GRAPH", key
    assert num_nodes(version) <= 1.02 * num_nodes(before)  # the size of the file depends on the names of layers too
    shutil.rmtree(version)
