"""The cache of encoder states: what it computes, when a file is used again, and what it says where it cannot keep states."""

import errno
import itertools

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from tiny_t5 import make_tiny_t5

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.states import encoding, state_cache
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.states.state_file import remove_spilled

IDS = [[9, 80, 33, 1], [12, 1], [9, 80, 33, 1], [7, 8, 9, 10, 11, 12, 1]]


def values(states, ids=IDS):
    """Return the states of each text, float32 [T, H]."""
    taken, mask = states.rows.take(tf.constant(states.numbers_of(ids)))
    return [row[kept > 0] for row, kept in zip(tf.cast(taken, tf.float32).numpy(), mask.numpy(), strict=True)]


def counted(monkeypatch):
    """Return a list that grows with every time texts are encoded."""
    calls, batches = [], encoding.StateEncoder.batches
    monkeypatch.setattr(encoding.StateEncoder, "batches", lambda *args: calls.append(1) or batches(*args))
    return calls


def files_in(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("layer", [1, None])
def test_states_are_those_of_plain_numpy(tiny_t5, layer):
    twin = numpy_t5.read_weights(tiny_t5.backbone)

    states = StateCache(tiny_t5, layer, dtype="float32").of(IDS)

    for ids, found in zip(IDS, values(states), strict=True):
        expected = numpy_t5.encode(twin, twin.table[ids], stop=layer)
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_a_narrow_dtype_rounds_the_states(tiny_t5, dtype, rounding):
    exact = values(StateCache(tiny_t5, None, dtype="float32").of(IDS))

    states = StateCache(tiny_t5, None, dtype=dtype).of(IDS)

    assert states.rows.dtype.name == dtype
    for found, expected in zip(values(states), exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1.01 * rounding, atol=1e-6)


def test_states_of_another_precision_have_another_file(tiny_t5, tiny_t5_bfloat16, tmp_path):
    for t5 in (tiny_t5, tiny_t5_bfloat16):
        StateCache(t5, None, dtype="float32", directory=tmp_path).of(IDS)

    assert len(files_in(tmp_path)) == 2


def test_a_text_that_comes_twice_is_kept_once(tiny_t5):
    states = StateCache(tiny_t5, None).of(IDS)

    assert states.rows.values.shape == (4 + 2 + 7, tiny_t5.hidden_dim)


def test_the_same_texts_are_encoded_once_in_any_order(tiny_t5, monkeypatch):
    calls, cache = counted(monkeypatch), StateCache(tiny_t5, None)

    assert cache.of(IDS) is cache.of(IDS[::-1])
    assert len(calls) == 1


def test_rows_fill_batches_of_a_few_tokens(tiny_t5, monkeypatch):
    whole = values(StateCache(tiny_t5, None, dtype="float32").of(IDS))
    monkeypatch.setattr(encoding, "TOKENS_PER_BATCH", 3)  # less than most rows: each is a batch of its own

    alone = values(StateCache(tiny_t5, None, dtype="float32").of(IDS))

    for one, other in zip(alone, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_it_is_told_how_many_texts_were_encoded_and_what_they_take(tiny_t5, monkeypatch, capfd):
    monkeypatch.setattr(state_cache.time, "monotonic", itertools.count().__next__)  # each look takes a second

    StateCache(tiny_t5, None, dtype="float32").of([[9] * 4])

    assert "Encoded 1 text (256 B) in " in capfd.readouterr().err  # 4 tokens of 16 values of 4 bytes


def test_a_text_without_states_is_an_error(tiny_t5):
    states = StateCache(tiny_t5, None).of(IDS)

    with pytest.raises(DataError, match="Every text must have cached states. Received: 1 text without them"):
        states.numbers_of([[9, 1], IDS[0]])


def test_another_dtype_is_an_error(tiny_t5):
    with pytest.raises(ConfigError, match="float16, bfloat16, float32. Received: 'int8'"):
        StateCache(tiny_t5, None, dtype="int8")


# === On the disk ===


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("memory_limit", [10**6, 0], ids=["in memory", "mapped"])
def test_a_later_run_reads_what_an_earlier_one_kept(tiny_t5, tmp_path, monkeypatch, dtype, memory_limit):
    settings = {"dtype": dtype, "directory": tmp_path, "memory_limit": memory_limit}
    first = values(StateCache(tiny_t5, 1, **settings).of(IDS))
    calls = counted(monkeypatch)

    second = StateCache(tiny_t5, 1, **settings).of(IDS)

    assert calls == []
    assert isinstance(second.rows.values, np.memmap) == (memory_limit == 0)
    for one, other in zip(values(second), first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_states_beyond_the_memory_limit_go_to_the_spill_directory(tiny_t5, tmp_path):
    StateCache(tiny_t5, None, spill_directory=tmp_path).of(IDS)
    assert files_in(tmp_path) == []

    states = StateCache(tiny_t5, None, spill_directory=tmp_path, memory_limit=10).of(IDS)

    assert isinstance(states.rows.values, np.memmap)
    assert len(files_in(tmp_path)) == 1


def test_of_a_spill_directory_the_spilled_states_alone_are_removed(tiny_t5, tmp_path):
    directory = tmp_path / "states"
    StateCache(tiny_t5, None, directory=directory).of(IDS)
    others = [*files_in(directory), "notes.csv"]
    (directory / "notes.csv").write_text("mine")
    StateCache(tiny_t5, None, spill_directory=directory, memory_limit=10).of(IDS)
    (directory / ".spilled-sha.npy.0123456789ab.tmp").write_text("of a killed start")

    remove_spilled(directory)

    assert files_in(directory) == sorted(others)
    for name in others:
        (directory / name).unlink()
    remove_spilled(directory)
    assert not directory.exists()


def test_a_file_of_another_backbone_layer_dtype_or_text_is_not_used(tmp_path, monkeypatch):
    t5 = make_tiny_t5()
    StateCache(t5, 1, directory=tmp_path).of(IDS)
    calls = counted(monkeypatch)
    others = [
        (make_tiny_t5(seed=1), 1, {}, IDS),
        (t5, None, {}, IDS),
        (t5, 1, {"dtype": "float32"}, IDS),
        (t5, 1, {}, [ids[:3] for ids in IDS]),  # another limit
        (t5, 1, {}, [[5, *ids] for ids in IDS]),  # another template
    ]

    for number, (backbone, layer, settings, ids) in enumerate(others, start=1):
        StateCache(backbone, layer, directory=tmp_path, **settings).of(ids)
        assert len(calls) == number

    StateCache(t5, 1, directory=tmp_path).of(IDS)
    assert len(calls) == len(others)


def test_a_file_of_another_activation_is_not_used(tmp_path, monkeypatch):
    t5, other = make_tiny_t5(), make_tiny_t5()
    monkeypatch.setattr(other.backbone, "activation", keras.activations.relu)
    StateCache(t5, 1, directory=tmp_path).of(IDS)
    calls = counted(monkeypatch)

    StateCache(other, 1, directory=tmp_path).of(IDS)

    assert len(calls) == 1


@pytest.mark.parametrize("memory_limit", [10**6, 0], ids=["in memory", "mapped"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "other shape", "other header"])
def test_a_damaged_file_is_made_again(tiny_t5, tmp_path, capfd, damage, memory_limit):
    settings = {"directory": tmp_path, "memory_limit": memory_limit}
    expected = values(StateCache(tiny_t5, None, **settings).of(IDS))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "other shape":
        np.save(path, np.zeros((3, 4), np.float16))
    elif damage == "other header":
        path.write_bytes(whole.replace(b"'shape'", b"b'shape"))  # a text without an end
    else:
        path.write_bytes(whole[:-5] if damage == "truncated" else b"")

    found = values(StateCache(tiny_t5, None, **settings).of(IDS))

    assert "are damaged: they are computed again" in capfd.readouterr().err
    assert path.read_bytes() == whole
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def fill_disk(monkeypatch):
    def write(file, *parts):
        file.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_cache, "write_header", write)


def test_on_a_full_disk_states_stay_in_memory(tiny_t5, tmp_path, monkeypatch):
    fill_disk(monkeypatch)

    with pytest.warns(UserWarning, match=r"kept in memory alone: .* cannot hold .* No space left on device"):
        states = StateCache(tiny_t5, None, directory=tmp_path).of(IDS)

    assert states is not None
    assert files_in(tmp_path) == []


def test_on_a_full_disk_training_goes_on_without_states_that_are_too_large(tiny_t5, tmp_path, monkeypatch):
    fill_disk(monkeypatch)

    with pytest.warns(
        UserWarning, match=r"goes on without cached states: .* memory limit of .* No space left on device"
    ):
        assert StateCache(tiny_t5, None, spill_directory=tmp_path, memory_limit=10).of(IDS) is None

    assert files_in(tmp_path) == []


def test_too_large_states_without_a_directory_are_told(tiny_t5):
    with pytest.warns(UserWarning, match=r"goes on without cached states: .* no directory was given for them"):
        assert StateCache(tiny_t5, None, memory_limit=10).of(IDS) is None


def test_states_that_float16_cannot_hold_are_kept_in_bfloat16(tmp_path):
    t5 = make_tiny_t5()
    scale = t5.backbone.encoder_layer_norm.weights[0]
    scale.assign(scale * 1e5)
    exact = values(StateCache(t5, None, dtype="float32").of(IDS))
    cache = StateCache(t5, None, dtype="float16", directory=tmp_path)

    with pytest.warns(UserWarning, match=r"reach 343808, and float16 ends at 65504: they are kept in bfloat16"):
        states = cache.of(IDS)

    assert states.rows.dtype == tf.bfloat16
    assert [".bfloat16." in name for name in files_in(tmp_path)] == [True]
    for found, expected in zip(values(states), exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2**-8)


def test_states_of_a_second_change_that_reads_like_the_first_are_computed_again(one_layer_t5, monkeypatch):
    cache = StateCache(one_layer_t5, None, dtype="float32")
    norm = one_layer_t5.backbone.encoder_layer_norm
    found = []
    for factor in (2.0, 6.0):
        monkeypatch.setattr(norm, "call", lambda states, factor=factor: factor * states, raising=False)
        found.append(cache.of(IDS).rows.values)

    np.testing.assert_allclose(found[1], 3 * found[0], rtol=1e-6)


def test_states_of_changed_layers_are_not_kept_on_the_disk(tmp_path):
    t5 = make_tiny_t5()
    t5.quantize("int8")

    assert StateCache(t5, None, directory=tmp_path).of(IDS) is not None

    assert files_in(tmp_path) == []
