"""The loader runs a SavedModel through TensorFlow's C API as numpy and sentencepiece say it must, and names what fails."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm

from softprompt_tf.errors import VerificationError
from softprompt_tf.export.session.session_loader import SavedModelSession
from softprompt_tf.export.session.session_process import limit_of, run_in_process
from softprompt_tf.export.session.session_worker import check_modules, decode_tensor, encode_tensor

SENTENCES = [
    "the small boat crossed the grey lake before noon",
    "a baker sold warm bread to the children of the town",
    "seven owls sat in the old oak and said nothing",
    "rain fell on the roof and the garden drank it all",
    "she read the long letter twice and then laughed",
]
TEXTS = ["the old owls laughed", "", "warm rain on the grey garden"]
VOCABULARY_SIZE = 50


@pytest.fixture(scope="module")
def tokenizer_model() -> bytes:
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=VOCABULARY_SIZE, minloglevel=2
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=VOCABULARY_SIZE).astype(np.float32)  # [V]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory, tokenizer_model: bytes, weights: np.ndarray) -> Path:
    directory = tmp_path_factory.mktemp("export") / "1"
    _write_saved_model(directory, tokenizer_model=tokenizer_model, weights=weights)
    return directory


@pytest.fixture(scope="module")
def session(saved_model: Path):
    with SavedModelSession(saved_model) as session:
        yield session


def _write_saved_model(directory: Path, *, tokenizer_model: bytes, weights: np.ndarray) -> None:
    import tensorflow as tf
    import tensorflow_text as tf_text

    class Scorer(tf.Module):
        def __init__(self):
            super().__init__()
            self.tokenizer = tf_text.SentencepieceTokenizer(tokenizer_model)
            self.weights = tf.Variable(weights)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def score(self, text):
            ids = self.tokenizer.tokenize(text)  # ragged [B, (T)]
            score = tf.reduce_sum(tf.gather(self.weights, ids), axis=1)
            return {"output": self.tokenizer.detokenize(ids[:, ::-1]), "score": score}  # pieces in reverse

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="floats"),
                tf.TensorSpec([None], tf.int64, name="longs"),
                tf.TensorSpec([], tf.int32, name="number"),
                tf.TensorSpec([None], tf.bool, name="flags"),
                tf.TensorSpec(None, tf.string, name="strings"),
            ]
        )
        def echo(self, floats, longs, number, flags, strings):
            return {"floats": floats, "longs": longs, "number": number, "flags": flags, "strings": strings}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="index")])
        def pick(self, index):
            return {"weight": tf.gather(self.weights, index)}

    module = Scorer()
    signatures = {"serving_default": module.score, "echo": module.echo, "pick": module.pick}
    tf.saved_model.save(module, str(directory), signatures=signatures)


def _expected(texts: list[str], *, tokenizer_model: bytes, weights: np.ndarray) -> tuple[list[bytes], list[float]]:
    processor = spm.SentencePieceProcessor(model_proto=tokenizer_model)
    rows = [processor.encode(text) for text in texts]
    return [processor.decode(row[::-1]).encode() for row in rows], [float(weights[row].sum()) for row in rows]


def test_worker_computes_what_sentencepiece_and_numpy_compute(saved_model, tokenizer_model, weights):
    requests = [
        {"signature": "serving_default", "inputs": {"text": TEXTS}},
        {"signature": "pick", "inputs": {"index": np.array([3, 0], np.int32)}},
    ]

    answers = run_in_process(saved_model, requests, timeout_s=120)

    outputs, scores = _expected(TEXTS, tokenizer_model=tokenizer_model, weights=weights)
    assert answers[0]["output"].tolist() == outputs
    assert answers[0]["score"].dtype == np.float32
    np.testing.assert_allclose(answers[0]["score"], scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(answers[1]["weight"], weights[[3, 0]])


def test_worker_runs_loops_tables_ragged_rows_and_scatters(tmp_path):
    _write_graph_features(tmp_path / "1")

    request = {"signature": "serving_default", "inputs": {"x": [b"one two", b"", b"zwei two one"]}}
    answer = run_in_process(tmp_path / "1", [request])[0]

    # The table gives 1, 2 and -1; the loop doubles each row's sum three times; the scatter sets row 1 to 100.
    assert answer["total"].tolist() == [24, 100, 16]
    assert answer["lengths"].tolist() == [2, 0, 3]
    assert answer["marked"].tolist() == [b"one two!", b"!", b"zwei two one!"]


def _write_graph_features(directory: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    rows = tf.lookup.KeyValueTensorInitializer(["one", "two"], [1, 2])
    module.table = tf.lookup.StaticHashTable(rows, default_value=-1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def signature(x):
        words = tf.strings.split(x)
        numbers = tf.reduce_sum(tf.ragged.map_flat_values(module.table.lookup, words), axis=1)
        _, total = tf.while_loop(lambda step, _: step < 3, lambda step, value: (step + 1, value * 2), [0, numbers])
        marked = tf.TensorArray(tf.string, 0, dynamic_size=True)
        for row in tf.range(tf.size(x)):
            marked = marked.write(row, x[row] + "!")
        return {
            "total": tf.tensor_scatter_nd_update(total, [[1]], [100]),
            "lengths": words.row_lengths(),
            "marked": marked.stack(),
        }

    tf.saved_model.save(module, str(directory), signatures=signature)


def test_a_graph_that_needs_python_is_caught(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def signature(x):
        return {"y": tf.ensure_shape(tf.numpy_function(lambda array: array + 1, [x], tf.float32), [None])}

    tf.saved_model.save(tf.Module(), str(tmp_path), signatures=signature)

    with pytest.raises(VerificationError, match=r"No OpKernel was registered to support Op 'PyFunc'"):
        run_in_process(tmp_path, [{"signature": "serving_default", "inputs": {"x": np.zeros(1, np.float32)}}])


def test_a_large_model_may_take_longer(tmp_path):
    (tmp_path / "variables").mkdir()
    with open(tmp_path / "variables" / "variables.data-00000-of-00001", "wb") as file:
        file.truncate(44 * 10**9)  # a T5 of 11 billion weights, and none of its bytes

    assert limit_of(tmp_path) == 300 + 4400


def test_a_process_that_the_system_killed_is_told_with_the_way_out(saved_model, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(saved_model.parent / "killed"))
    Path(sys.executable).write_text("#!/bin/sh\nkill -KILL $$\n")
    Path(sys.executable).chmod(0o755)

    with pytest.raises(VerificationError, match="Received: death by SIGKILL, .*where memory is short.*`verify=False`"):
        run_in_process(saved_model, [])


def test_signatures_tell_names_dtypes_and_shapes(session):
    assert set(session.signatures) == {"serving_default", "echo", "pick"}
    text = session.signatures["serving_default"].inputs["text"]
    assert (text.tensor_name, text.dtype, text.shape) == ("serving_default_text:0", "string", (None,))
    outputs = session.signatures["serving_default"].outputs
    assert {name: (spec.dtype, spec.shape) for name, spec in outputs.items()} == {
        "output": ("string", (None,)),
        "score": ("float32", (None,)),
    }
    inputs = session.signatures["echo"].inputs
    assert {name: (spec.dtype, spec.shape) for name, spec in inputs.items()} == {
        "floats": ("float32", (None, 2)),
        "longs": ("int64", (None,)),
        "number": ("int32", ()),
        "flags": ("bool", (None,)),
        "strings": ("string", None),
    }


def test_every_dtype_passes_through_unchanged(session):
    inputs = {
        "floats": np.array([[0.1, -np.inf], [1e-40, 3.0]], np.float32),
        "longs": np.array([2**62, -1]),
        "number": np.array(-7, np.int32),
        "flags": np.array([True, False]),
        "strings": np.array([[b"", b"a\x00b\x00"], [b"\xff", b"long " * 1000]], dtype=object),
    }

    outputs = session.run("echo", inputs)

    for name, array in inputs.items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(outputs[name], array)


def test_an_empty_batch_gives_empty_outputs(session):
    outputs = session.run("serving_default", {"text": []})

    assert {name: array.shape for name, array in outputs.items()} == {"output": (0,), "score": (0,)}


def test_a_view_that_is_not_contiguous_is_read_in_its_own_order(session, weights):
    index = np.arange(10, dtype=np.int32)[::-3]

    np.testing.assert_array_equal(session.run("pick", {"index": index})["weight"], weights[[9, 6, 3, 0]])


def test_unknown_signature_is_refused_with_the_known_ones(session):
    with pytest.raises(VerificationError, match=r"Received: 'classify'\. It has: echo, pick, serving_default\."):
        session.run("classify", {})


def test_missing_input_is_refused(session):
    with pytest.raises(VerificationError, match=r"'pick' takes exactly the inputs \['index'\]\. Received: \[\]\."):
        session.run("pick", {})


def test_unknown_input_is_refused(session):
    with pytest.raises(VerificationError, match=r"Received: \['index', 'text'\]"):
        session.run("pick", {"index": np.zeros(1, np.int32), "text": [b"a"]})


def test_wrong_dtype_is_refused(session):
    with pytest.raises(VerificationError, match=r"Input 'index' must be int32\. Received: int64\."):
        session.run("pick", {"index": np.array([1], np.int64)})


def test_numbers_for_a_string_input_are_refused(session):
    with pytest.raises(VerificationError, match=r"Input 'text' must hold bytes or str only\. Received: \[b'a', 1\]\."):
        session.run("serving_default", {"text": [b"a", 1]})


def test_a_failing_run_gives_the_status_of_tensorflow(session):
    with pytest.raises(VerificationError, match=r"A run of .* failed\. Received: INVALID_ARGUMENT: .*9999"):
        session.run("pick", {"index": np.array([9999], np.int32)})


def test_a_closed_session_does_not_run(saved_model):
    with SavedModelSession(saved_model) as session:
        pass

    session.close()  # a second time

    with pytest.raises(VerificationError, match=r"A closed session cannot run\."):
        session.run("pick", {"index": np.zeros(1, np.int32)})


def test_missing_directory_is_not_found(tmp_path):
    with pytest.raises(VerificationError, match=r"cannot load the SavedModel .*absent\. Received: NOT_FOUND: "):
        SavedModelSession(tmp_path / "absent")


def test_truncated_graph_does_not_load(saved_model, tmp_path):
    whole = (saved_model / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(VerificationError, match=r"cannot load the SavedModel .* Received: [A-Z_]+: "):
        SavedModelSession(tmp_path)


def test_damaged_variables_do_not_load(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path, dirs_exist_ok=True)
    shard = tmp_path / "variables" / "variables.data-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[4] ^= 1  # one bit of the weights
    shard.write_bytes(content)

    with pytest.raises(VerificationError, match=r"cannot load the SavedModel .* Received: DATA_LOSS: "):
        SavedModelSession(tmp_path)


def test_missing_variables_load_as_in_a_server_but_do_not_run(saved_model, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes((saved_model / "saved_model.pb").read_bytes())

    with (
        SavedModelSession(tmp_path) as session,
        pytest.raises(VerificationError, match=r"A run of .* failed\. Received: [A-Z_]+: "),
    ):
        session.run("pick", {"index": np.zeros(1, np.int32)})


def test_worker_failure_carries_its_last_words(tmp_path):
    with pytest.raises(VerificationError, match=r"(?s)Received: exit status 1\..*VerificationError: .*NOT_FOUND"):
        run_in_process(tmp_path / "absent", [])


def test_worker_names_the_request_that_failed(saved_model):
    good = {"signature": "pick", "inputs": {"index": np.zeros(1, np.int32)}}

    with pytest.raises(VerificationError, match=r"Request 1: The SavedModel has no such signature\. Received: 'spam'"):
        run_in_process(saved_model, [good, {"signature": "spam", "inputs": {}}])


def test_worker_that_takes_too_long_is_stopped(saved_model):
    with pytest.raises(VerificationError, match=r"no answer in 0\.01 s\. `verify=False`, .*`--no-verify`, leaves"):
        run_in_process(saved_model, [], timeout_s=0.01)


def test_a_process_that_imported_keras_is_refused(monkeypatch):
    for name in ("tensorflow", "tensorflow_text"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "keras", object())

    with pytest.raises(VerificationError, match=r"Received: \['keras'\]"):
        check_modules()


def test_importing_the_loader_imports_no_tensorflow():
    code = "import softprompt_tf.export.session.session_process, sys; print('tensorflow' in sys.modules, 'keras' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.split() == ["False", "False"]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, -np.inf], [1e-40, 16777217.0]], np.float32),
        np.array([2**62, -1]),
        np.array(True),
        np.zeros([0, 3], np.int32),
        np.array([[b"\xff\x00", "ä".encode()]], dtype=object),
    ],
    ids=["float32", "int64", "bool scalar", "empty", "string"],
)
def test_json_form_keeps_every_bit(array):
    again = decode_tensor(json.loads(json.dumps(encode_tensor(array))))

    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)


def test_json_form_of_strings_is_readable():
    strings = np.array([b"text", "text", b"\xff"], dtype=object)

    assert encode_tensor(strings) == {"dtype": "string", "shape": [3], "values": ["text", "text", {"b64": "/w=="}]}
