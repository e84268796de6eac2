"""Saving, loading in a new process, copying and pickling."""

import copy
import json
import pickle
import resource
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras_user import INPUTS, LABELS, TARGETS, make_model

import softprompt_tf as sp
from softprompt_tf.errors import PromptError

pytestmark = pytest.mark.thorough

IN_A_NEW_PROCESS = """
import json, sys
{imports}
model = {load}(sys.argv[1])
print([type(model).__name__, type(model.optimizer).__name__, type(model.loss).__name__], model.labels)
print(json.dumps(model.test_on_batch({inputs}, {targets}, return_dict=True)))
"""


@pytest.fixture(scope="module")
def saved(t5, tmp_path_factory):
    """A trained model, what `test_on_batch` says of it, and its file."""
    model = make_model(t5)
    model.compile(
        optimizer=sp.Adafactor(0.1),
        loss=sp.TargetCrossEntropy(z_loss=1e-3),
        metrics=["accuracy", "exact_match", "label_accuracy"],
        run_eagerly=True,
    )
    model.train_on_batch(INPUTS, TARGETS)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return model, model.test_on_batch(INPUTS, TARGETS, return_dict=True), path


@pytest.mark.parametrize(
    ("imports", "load"),
    [
        ("import softprompt_tf as sp", "sp.load_model"),
        ("import keras; import softprompt_tf", "keras.saving.load_model"),
        pytest.param("import softprompt_tf as sp, keras; sp.init", "keras.saving.load_model", marks=pytest.mark.slow),
    ],
    ids=["sp.load_model", "keras first", "one name touched"],
)
def test_a_new_process_reads_the_file(saved, imports, load):
    _, expected, path = saved
    code = IN_A_NEW_PROCESS.format(imports=imports, load=load, inputs=INPUTS, targets=TARGETS)

    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    names, logs = done.stdout.strip().splitlines()[-2:]
    assert names == f"['PromptedT5', 'Adafactor', 'TargetCrossEntropy'] {LABELS}"
    assert json.loads(logs) == pytest.approx(expected, rel=1e-5)


def test_where_keras_does_not_know_the_class_its_error_says_what_reads_the_file(saved, monkeypatch):
    _, _, path = saved
    monkeypatch.delitem(keras.saving.get_custom_objects(), "softprompt_tf>PromptedT5")

    with pytest.raises(TypeError, match=r"Could not locate class 'PromptedT5'.*softprompt_tf\.load_model\(path\)"):
        keras.saving.load_model(path)


@pytest.mark.parametrize("name", ["model.h5", "model.weights.h5", "model.hdf5"])
def test_the_older_format_of_keras_is_refused(saved, tmp_path, name):
    model, _, _ = saved

    with pytest.raises(PromptError, match=rf"saved as a .keras file. Received: .*{name}. `save_weights"):
        model.save(tmp_path / name)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    keras.Sequential([keras.layers.Dense(1)]).save(tmp_path / "other.keras")

    with pytest.raises(PromptError, match="must be a .keras file. Received: .*none.keras, which is no file"):
        sp.load_model(tmp_path / "none.keras")
    with pytest.raises(PromptError, match=r"text.keras cannot be read as a .keras file"):
        sp.load_model(tmp_path / "text.keras")
    with pytest.raises(PromptError, match="must hold a PromptedT5. Received: Sequential"):
        sp.load_model(tmp_path / "other.keras")


@pytest.mark.parametrize("damage", ["flipped bytes", "deep config"])
def test_a_damaged_archive_is_refused(saved, tmp_path, damage):
    content = {name: zipfile.ZipFile(saved[2]).read(name) for name in zipfile.ZipFile(saved[2]).namelist()}
    if damage == "deep config":
        content["config.json"] = b"[" * 100_000
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    if damage == "flipped bytes":
        whole = (tmp_path / "bad.keras").read_bytes()
        start = whole.index(content["model.weights.h5"][:64]) + 1000
        flipped = bytes(byte ^ 0xFF for byte in whole[start : start + 100])
        (tmp_path / "bad.keras").write_bytes(whole[:start] + flipped + whole[start + 100 :])

    with pytest.raises(PromptError, match=r"bad.keras cannot be read as a .keras file"):
        sp.load_model(tmp_path / "bad.keras")


def test_a_full_disk_leaves_the_file_that_was_there_and_no_other(saved, tmp_path):
    model, _, path = saved
    shutil.copy(path, tmp_path / "model.keras")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            model.save(tmp_path / "model.keras")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (tmp_path / "model.keras").read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_weights_alone_come_back(saved, t5, tmp_path):
    model, _, _ = saved
    other = make_model(t5, prompt=sp.prompt_tuning(3, seed=9))

    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")

    np.testing.assert_array_equal(other.prompt_value(), model.prompt_value())


@pytest.mark.parametrize("again", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_model_and_its_t5_can_be_copied(saved, t5, again):
    model, _, _ = saved

    other, other_t5 = again(model), again(t5)

    np.testing.assert_array_equal(other.prompt_value(), model.prompt_value())
    assert (other_t5.name, other_t5.fingerprint, other.t5.fingerprint) == (t5.name, t5.fingerprint, t5.fingerprint)
    assert other_t5.backbone is not t5.backbone
    assert not other_t5.backbone.trainable
    assert sp.PromptedT5(other_t5, model.task_prompt("mood")).generate("a") == model.generate("a")


def test_a_model_that_is_not_compiled_comes_back_so_with_its_sampler(t5):
    model = make_model(t5)
    model.sampler = sp.Beam(3)

    again = copy.deepcopy(model)

    assert (again.compiled, again.sampler) == (False, sp.Beam(3))


def test_clone_model_is_refused_with_what_to_do(saved, t5):
    for model in (saved[0], make_model(t5)):
        with pytest.raises(PromptError, match="`clone_model` would give a model of new random weights.*deepcopy"):
            keras.models.clone_model(model)
