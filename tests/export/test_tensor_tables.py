"""Tables of tensors that are no prompts: looked up in a graph, written, added to, removed from, refused where there are none."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import BackboneMismatchError, ExportError
from softprompt_tf.export import add_tasks, list_tasks, remove_tasks, write_saved_model
from softprompt_tf.export.commands import _list
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.served_tasks import build_served_tasks
from softprompt_tf.export.graph.task_columns import COLUMNS, columns_of, task_columns, tasks_of
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.export.versions.task_shards import StoredTasks
from softprompt_tf.methods import TaskPrompt

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

ROW = (2, 2, 2, 6)  # of the tiny T5: L, keys and values, N, D
ENCODER, DECODER, CROSS = (f"{part}_key_values" for part in ("encoder", "decoder", "cross"))
SHAPES = {"prompt": (16,), ENCODER: ROW, DECODER: ROW}


def prefix(seed, length, *names, **fields):
    generator = np.random.default_rng(seed)
    tensors = {name: generator.normal(size=(length, *ROW)).astype(np.float32) for name in names}
    return TaskPrompt(tensors=tensors, **{"method": "prefix_tuning", "max_target_tokens": 4, **fields})


def prompt(seed, length=3, **fields):
    return TaskPrompt(np.random.default_rng(seed).normal(size=(length, 16)).astype(np.float32), **fields)


TASKS = {
    "front": [prompt(1)],
    "both": [prefix(2, 2, ENCODER, DECODER)],
    "deep": [prefix(3, 4, DECODER), prefix(4, 4, DECODER)],
}


@pytest.fixture(scope="session")
def tiny_t5(two_layer_t5):
    """Of two layers, as tasks have rows of each layer here."""
    return two_layer_t5


@pytest.fixture(scope="module")
def tasks(tiny_t5):
    return build_served_tasks(tiny_t5, TASKS)


@pytest.fixture(scope="module")
def tables(tasks):
    return TaskTables(tasks, row_shapes=SHAPES)


# === In a graph ===


def test_rows_are_right_aligned_and_no_longer_than_the_batchs_longest(tables):
    rows, mask = tf.function(tables.rows, autograph=False)(
        DECODER, tf.constant([2, 1, 2, 0]), tf.constant([1, 0, 0, 0])
    )

    assert rows.shape == (4, 4, *ROW)
    np.testing.assert_array_equal(rows[0], TASKS["deep"][1].tensors[DECODER])
    np.testing.assert_array_equal(rows[1, 2:], TASKS["both"][0].tensors[DECODER])
    np.testing.assert_array_equal(rows[2], TASKS["deep"][0].tensors[DECODER])
    assert not rows[1, :2].numpy().any()
    assert not rows[3].numpy().any()
    assert mask.numpy().tolist() == [[1] * 4, [0, 0, 1, 1], [1] * 4, [0] * 4]


def test_a_batch_of_which_no_task_has_the_tensor_is_one_masked_row(tables):
    rows, mask = tables.rows(ENCODER, tf.constant([0, 2]), tf.constant([0, 0]))

    assert rows.shape == (2, 1, *ROW)
    assert not rows.numpy().any()
    assert mask.numpy().tolist() == [[0], [0]]


def test_a_task_without_a_prompt_is_masked_where_others_have_one(tables):
    rows, mask = tables.rows("prompt", tf.constant([1, 0]), tf.constant([0, 0]))

    np.testing.assert_array_equal(rows[1], TASKS["front"][0].prompt)
    assert mask.numpy().tolist() == [[0] * 3, [1] * 3]


@pytest.mark.parametrize(("table_dtype", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_tables_of_every_dtype_are_served_in_float32(tasks, table_dtype, digits):
    tables = TaskTables(tasks, row_shapes=SHAPES, table_dtype=table_dtype)

    rows, _ = tables.rows(DECODER, tf.constant([1]), tf.constant([0]))

    value = TASKS["both"][0].tensors[DECODER]
    assert rows.dtype == tf.float32
    assert (np.abs(rows[0] - value) <= 2.0**-digits * np.abs(value)).all()


def test_a_tensor_without_a_table_is_refused(tasks):
    with pytest.raises(ExportError, match=r"need a table each\. Received: task 'both' with encoder_key_values"):
        TaskTables(tasks, row_shapes={"prompt": (16,), DECODER: ROW})


def test_prompts_alone_have_the_columns_that_they_always_had():
    assert columns_of(["prompt"]) == COLUMNS
    assert set(columns_of(["prompt", DECODER])) - set(COLUMNS) == {
        "decoder_key_values_starts",
        "decoder_key_values_lengths",
        "methods",
    }


def test_tasks_of_other_tensors_are_read_back_as_they_were(tasks):
    columns = task_columns(tasks.rows, tables=list(SHAPES))

    assert columns["decoder_key_values_starts"].tolist() == [1, 1, 3]
    assert columns["encoder_key_values_starts"].tolist() == [1, 1, 3]
    assert columns["prompt_starts"].tolist() == [1, 4, 4]
    assert tasks_of(columns) == tasks.rows
    assert [task.method for task in tasks_of(columns)] == ["prompt_tuning", "prefix_tuning", "prefix_tuning"]


def test_keys_and_values_of_another_t5_are_refused_with_both_shapes(tiny_t5):
    wide = TaskPrompt(tensors={CROSS: np.zeros((2, 3, 2, 2, 6), np.float32)}, method="prefix_tuning", backbone="other")

    with pytest.raises(BackboneMismatchError, match=r"other \(cross_key_values \[P, 3, 2, 2, 6\]\).*\[P, 2, 2, 2, 6\]"):
        build_served_tasks(tiny_t5, {"wide": wide})


# === In files ===


@pytest.fixture(scope="module", params=["float32", "float16"])
def base(request, tiny_t5, asked_once, tmp_path_factory):
    """An export of three tasks, to which three were added, one by one, and from which one was removed: versions 1 to 5."""
    base = tmp_path_factory.mktemp(request.param) / "tiny"
    write_saved_model(base, tiny_t5, TASKS, table_dtype=request.param, verify=False)
    for name, task in ADDED.items():
        add_tasks(base, {name: task}, verify=False)
    remove_tasks(base, ["both"], verify=False)
    return base


ADDED = {
    "late": prefix(5, 1, ENCODER, labels=("a", "b")),
    "second": prompt(6, 2),
    "third": prefix(7, 3, ENCODER, DECODER),
}


def served(version):
    """Return task id -> tensor's name -> its rows, as the loaded version's own tables have them."""
    tables = tf.saved_model.load(str(version)).tables
    columns = {name: column.numpy() for name, column in tables.columns.items()}
    ids = [name.decode() for name in columns["task_ids"]]
    found = {name: {} for name in ids}
    variables = {"prompt": tables.prompts, ENCODER: tables.encoder_key_values, DECODER: tables.decoder_key_values}
    for tensor, variable in variables.items():
        values = variable.numpy()
        values = values.view(np.float16) if values.dtype == np.int16 else values
        assert not values[0].any()
        for k, name in enumerate(ids):
            start = columns[f"{tensor}_starts"][k]
            rows = columns[f"{tensor}_lengths"][k] * columns["num_members"][k]
            if rows:
                found[name][tensor] = values[start : start + rows]
    return found


def expected(names, dtype):
    members = {**TASKS, **{name: [task] for name, task in ADDED.items()}}
    return {
        name: {
            tensor: np.concatenate([m.tensors[tensor].reshape(m.length, -1) for m in members[name]]).astype(dtype)
            for tensor in members[name][0].tensors
        }
        for name in names
    }


def assert_same(found, wanted):
    assert {name: sorted(values) for name, values in found.items()} == {
        name: sorted(values) for name, values in wanted.items()
    }
    for name, tensors in wanted.items():
        for tensor, values in tensors.items():
            np.testing.assert_array_equal(found[name][tensor], values)


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (1, ["front", "both", "deep"]),
        (4, ["front", "both", "deep", "late", "second", "third"]),
        (5, ["front", "deep", "late", "second", "third"]),
    ],
    ids=["written", "added", "removed"],
)
def test_a_version_holds_every_tasks_tensors(base, version, names):
    dtype = ExportRecord.read(base / str(version)).table_dtype

    assert_same(served(base / str(version)), expected(names, dtype))


def test_an_addition_writes_one_file_and_links_the_others(base):
    assert [len(list((base / str(k)).glob("variables/*.data-*"))) for k in range(1, 6)] == [3, 4, 5, 6, 3]
    for number in (0, 2, 3):
        inodes = {next((base / str(k)).glob(f"variables/*.data-{number:05d}-*")).stat().st_ino for k in (3, 4)}
        assert len(inodes) == 1


def test_what_is_stored_is_read_task_by_task(base):
    stored = StoredTasks.read(base / "4")

    assert stored.tables == {"prompt": 16, ENCODER: 48, DECODER: 48}
    assert [task.lengths for task in stored.rows] == [
        {"prompt": 3},
        {ENCODER: 2, DECODER: 2},
        {DECODER: 4},
        {ENCODER: 1},
        {"prompt": 2},
        {ENCODER: 3, DECODER: 3},
    ]
    assert list(stored.of_tasks(ENCODER)) == ["both", "late", "third"]


def test_the_list_tells_methods_and_bytes(base, capsys):
    each = {"float32": 4, "float16": 2}[ExportRecord.read(base / "1").table_dtype]

    _list(str(base), None)

    assert capsys.readouterr().out.splitlines() == [
        f"front  3 rows, {3 * 16 * each:,} bytes",
        f"deep  prefix_tuning, 2 x 4 rows, {8 * 48 * each:,} bytes",
        f"late  prefix_tuning, 1 row, {48 * each:,} bytes  labels: a, b",
        f"second  2 rows, {2 * 16 * each:,} bytes",
        f"third  prefix_tuning, 3 rows, {6 * 48 * each:,} bytes",
    ]
    assert [task.method for task in list_tasks(base)][:2] == ["prompt_tuning", "prefix_tuning"]


def test_a_replaced_task_leaves_no_rows_of_its_other_method(base, tmp_path):
    copy = tmp_path / "tiny"
    copy.mkdir()
    (copy / "4").symlink_to(base / "4", target_is_directory=True)

    version = add_tasks(copy, {"third": prompt(9), "front": prefix(8, 2, DECODER)}, replace=True, verify=False)

    lengths = {task.task_id: task.lengths for task in StoredTasks.read(version).rows}
    assert (lengths["third"], lengths["front"]) == ({"prompt": 3}, {DECODER: 2})
    dtype = ExportRecord.read(version).table_dtype
    found = served(version)
    np.testing.assert_array_equal(found["third"]["prompt"], prompt(9).prompt.astype(dtype))
    assert_same({name: found[name] for name in ("both", "deep", "late")}, expected(["both", "deep", "late"], dtype))


def test_a_task_of_other_sizes_is_not_added(base):
    wrong = TaskPrompt(tensors={DECODER: np.zeros((2, 3, 2, 2, 6), np.float32)}, method="prefix_tuning")

    with pytest.raises(BackboneMismatchError, match=r"decoder_key_values \[P, 3, 2, 2, 6\].*\[P, 2, 2, 2, 6\]"):
        add_tasks(base, {"wrong": wrong}, verify=False)


def test_a_task_with_a_tensor_that_the_graph_has_no_table_of_is_not_added(base):
    message = (
        r"has tables of prompt, encoder_key_values, decoder_key_values alone\. Received: task 'new' of the method "
        r"prefix_tuning, with cross_key_values\. Write the export again with this task: `softprompt export --prompt`"
    )
    with pytest.raises(ExportError, match=message) as caught:
        add_tasks(base, {"new": prefix(1, 2, CROSS)}, verify=False)
    assert "\n" not in str(caught.value)


def test_tasks_that_vote_must_have_the_same_tensors(tiny_t5):
    told = r"prefix_tuning \(decoder_key_values\) and prefix_tuning \(encoder_key_values\)\."
    message = rf"Task 'x': .* the same tensors\. Received: {told}"
    with pytest.raises(ExportError, match=message):
        build_served_tasks(tiny_t5, {"x": [prefix(1, 2, DECODER), prefix(1, 2, ENCODER)]})
    lengths = [prefix(1, 2, DECODER), dataclasses.replace(prefix(1, 3, DECODER))]
    with pytest.raises(ExportError, match=r"one length\. Received: lengths \[2, 3\]"):
        build_served_tasks(tiny_t5, {"x": lengths})


def test_an_export_of_no_prompts_takes_prompts_later(tiny_t5, tmp_path):
    write_saved_model(tmp_path / "e", tiny_t5, {"both": TASKS["both"][0]}, verify=False)
    for name in ("late", "second"):
        version = add_tasks(tmp_path / "e", {name: ADDED[name]}, verify=False)

    assert_same(served(version), expected(["both", "late", "second"], "float32"))
