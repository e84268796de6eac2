"""Folders of AdapterHub: what is read of them and written, and what is refused by its name. `test_parity.py` has real ones."""

import json

import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.cli.convert import convert
from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods import TaskPrompt, load_prompt, write_adapterhub_adapter

HIDDEN, RANK, LAYERS = 6, 2, {"encoder": 3, "decoder": 2}
PLACES = {
    "encoder_attention_adapter": "encoder.block.{}.layer.0",
    "encoder_feed_forward_adapter": "encoder.block.{}.layer.1",
    "decoder_attention_adapter": "decoder.block.{}.layer.0",
    "cross_attention_adapter": "decoder.block.{}.layer.1",
    "decoder_feed_forward_adapter": "decoder.block.{}.layer.2",
}
SETTINGS = {
    "mh_adapter": True,
    "output_adapter": True,
    "cross_adapter": True,
    "non_linearity": "gelu_new",
    "reduction_factor": 3,
    "original_ln_before": False,
    "original_ln_after": True,
    "residual_before_ln": True,
    "phm_dim": 4,
    "scaling": 1.0,
    "leave_out": [],
    "inv_adapter": None,
}


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def bottleneck_shapes(place, name="film", rank=RANK):
    return {
        f"{place}.adapters.{name}.adapter_down.0.weight": (rank, HIDDEN),
        f"{place}.adapters.{name}.adapter_down.0.bias": (rank,),
        f"{place}.adapters.{name}.adapter_up.weight": (HIDDEN, rank),
        f"{place}.adapters.{name}.adapter_up.bias": (HIDDEN,),
    }


def all_shapes():
    return {
        name: shape
        for place, where in PLACES.items()
        for layer in range(LAYERS["encoder" if place.startswith("encoder") else "decoder"])
        for name, shape in bottleneck_shapes(where.format(layer)).items()
    }


def invertible_shapes(inner=3):
    half, parts = HIDDEN // 2, ("F", "G")
    return {
        f"encoder.invertible_adapters.film.{part}.{end}": shape
        for part in parts
        for end, shape in {
            "0.weight": (inner, half),
            "0.bias": (inner,),
            "2.weight": (half, inner),
            "2.bias": (half,),
        }.items()
    }


def write_folder(folder, tensors, *, wrapped=False, changes=(), **settings):
    config = {
        "config": SETTINGS | settings,
        "hidden_size": HIDDEN,
        "model_class": "T5AdapterModel" if wrapped else "T5ForConditionalGeneration",
        "model_name": "small",
        "model_type": "t5",
        "name": "film",
        "version": "adapters.1.3.0",
    }
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | dict(changes)))
    prefix = "transformer." if wrapped else ""
    content = safetensors.numpy.save({prefix + name: value for name, value in tensors.items()})
    (folder / "adapter.safetensors").write_bytes(content)
    return folder


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def as_adapterhub(values, tensors, down, up):
    """Return up(gelu(down(values))) with the matrices and biases of these names."""
    inner = gelu(values @ tensors[f"{down}.weight"].T + tensors[f"{down}.bias"])
    return inner @ tensors[f"{up}.weight"].T + tensors[f"{up}.bias"]


def as_units(values, units):
    """Return what units [R, F_in + F_out + 2] make of values [..., F_in]."""
    width = values.shape[-1]
    return (gelu(values @ units[:, :width].T + units[:, -2]) + units[:, -1]) @ units[:, width:-2]


def test_each_place_computes_what_adapterhub_computes(tmp_path):
    tensors, values = drawn(all_shapes()), np.random.default_rng(1).normal(size=(4, HIDDEN))

    task = load_prompt(write_folder(tmp_path / "folder", tensors, scaling=0.5))

    assert (task.method, task.task_id, task.backbone) == ("adapters", "film", "small")
    assert set(task.tensors) == set(PLACES)
    for place, where in PLACES.items():
        rows = task.tensors[place]
        assert rows.shape[1] == LAYERS["encoder" if place.startswith("encoder") else "decoder"]
        name = f"{where.format(1)}.adapters.film.adapter_"
        expected = 0.5 * as_adapterhub(values, tensors, f"{name}down.0", f"{name}up")
        np.testing.assert_allclose(as_units(values, rows[:, 1]), expected, rtol=1e-4, atol=1e-5)


def test_an_invertible_adapter_is_read_from_a_model_that_applies_its_inverse(tmp_path):
    tensors = drawn({**all_shapes(), **invertible_shapes()})
    values = np.random.default_rng(2).normal(size=(4, HIDDEN // 2))

    rows = load_prompt(write_folder(tmp_path / "a", tensors, wrapped=True, inv_adapter="nice")).tensors[
        "invertible_adapter"
    ]

    assert rows.shape == (4, 2, HIDDEN + 2)
    for index, part in enumerate("FG"):
        name = f"encoder.invertible_adapters.film.{part}"
        expected = as_adapterhub(values, tensors, f"{name}.0", f"{name}.2")
        np.testing.assert_allclose(as_units(values, rows[:, index]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(PromptFileError, match="must be of a T5AdapterModel: .* do not apply the inverse"):
        load_prompt(write_folder(tmp_path / "b", tensors, inv_adapter="nice"))


def test_layers_that_are_left_out_have_zeros(tmp_path):
    tensors = {name: value for name, value in drawn(all_shapes()).items() if "encoder.block.1." not in name}

    rows = load_prompt(write_folder(tmp_path / "folder", tensors, leave_out=[1])).tensors["encoder_attention_adapter"]

    np.testing.assert_array_equal(rows[:, 1], 0)
    assert np.all(np.any(rows[:, [0, 2]], axis=(0, 2)))


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "with an inverse"])
def test_a_written_folder_has_the_tensors_that_were_read(tmp_path, wrapped):
    shapes, inverse = (invertible_shapes(), "nice") if wrapped else ({}, None)
    tensors = drawn({**all_shapes(), **shapes})
    task = load_prompt(write_folder(tmp_path / "theirs", tensors, wrapped=wrapped, inv_adapter=inverse))

    write_adapterhub_adapter(tmp_path / "ours", task)

    theirs, ours = (
        safetensors.numpy.load_file(tmp_path / which / "adapter.safetensors") for which in ("theirs", "ours")
    )
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-6, err_msg=name)
    settings = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())["config"]
    assert int(HIDDEN // settings["reduction_factor"]) == RANK
    assert load_prompt(tmp_path / "ours").tensors.keys() == task.tensors.keys()


def test_units_that_training_went_on_with_are_written_with_all_that_they_give(tmp_path):
    rows = drawn(
        {"encoder_feed_forward_adapter": (3, 2, 2 * HIDDEN + 2), "decoder_feed_forward_adapter": (2, 1, 2 * HIDDEN + 2)}
    )
    values = np.random.default_rng(1).normal(size=(4, HIDDEN))

    write_adapterhub_adapter(tmp_path / "film", TaskPrompt(tensors=rows, method="adapters", task_id="film"))

    again = load_prompt(tmp_path / "film").tensors
    for name, units in rows.items():
        expected = as_units(values, units[:, 0])
        np.testing.assert_allclose(as_units(values, again[name][:, 0]), expected, rtol=1e-4, atol=1e-4)


def test_convert_goes_from_a_folder_to_a_file_and_back(tmp_path):
    folder = write_folder(tmp_path / "folder", drawn(all_shapes()))

    convert(folder, tmp_path / "film.safetensors")
    convert(tmp_path / "film.safetensors", tmp_path / "again")

    first, second = load_prompt(folder).tensors, load_prompt(tmp_path / "again").tensors
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"non_linearity": "relu"}, "non_linearity='relu'. Train it with .*non_linearity='gelu_new'"),
        ({"original_ln_before": True}, "original_ln_before=True. Train it with .*original_ln_before=False"),
        ({"is_parallel": True}, "is_parallel=True"),
        ({"phm_layer": True}, "phm_layer=True"),
        ({"inv_adapter": "glow"}, "inv_adapter='glow'"),
        ({"scaling": 10**400}, "a number as `scaling`. Received: 1000"),
        ({"scaling": "learned"}, "a number as `scaling`. Received: 'learned'"),
        ({"use_new_thing": 3}, "use_new_thing=3"),
        ({"cross_adapter": False}, "that its config asks for. Received: another choice of cross_attention_adapter"),
        ({"changes": {"model_type": "bert"}}, r"for a T5 \(model_type t5 or mt5\).*Received: model_type='bert'"),
        ({"changes": {"config": "pfeiffer"}}, "have its settings. Received: .*config='pfeiffer'"),
        ({"changes": {"name": "other"}}, "under its own name. Received: also decoder"),
    ],
)
def test_what_this_library_computes_otherwise_is_refused(tmp_path, settings, message):
    with pytest.raises(PromptFileError, match=message):
        load_prompt(write_folder(tmp_path / "folder", drawn(all_shapes()), **settings))


def test_damaged_folders_are_refused(tmp_path):
    tensors = drawn(all_shapes())
    lacking = {
        name: value
        for name, value in tensors.items()
        if name != "encoder.block.1.layer.0.adapters.film.adapter_up.bias"
    }
    without_layer = {name: value for name, value in tensors.items() if "encoder.block.1." not in name}
    far = {name.replace("encoder.block.1.", "encoder.block.3000000000."): value for name, value in tensors.items()}
    narrow = {**tensors, **drawn({"decoder.block.1.layer.2.adapters.film.adapter_down.0.weight": (3, HIDDEN)})}

    for name, held, message in (
        ("lacking", lacking, "Received: no encoder_attention_adapter 1 up.bias"),
        ("hole", without_layer, "Received: another choice of layer 1 of encoder_"),
        ("far", far, "under its own name. Received: also encoder.block.3000000000."),
        ("narrow", narrow, r"matrices \[R, F\] and \[F, R\], and biases. Received: decoder_feed_forward_adapter"),
    ):
        with pytest.raises(PromptFileError, match=message):
            load_prompt(write_folder(tmp_path / name, held))
    folder = write_folder(tmp_path / "cut", tensors)
    content = (folder / "adapter.safetensors").read_bytes()
    (folder / "adapter.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(PromptFileError, match="must be a whole safetensors file"):
        load_prompt(folder)
    (folder / "adapter.safetensors").rename(folder / "pytorch_adapter.bin")
    with pytest.raises(PromptFileError, match=r"Pickle files \(.bin\) are never read: .*use_safetensors=True"):
        load_prompt(folder)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"encoder_feed_forward_adapter": 2}, "encoder_feed_forward_adapter without decoder_feed_forward_adapter"),
        (
            {"cross_attention_adapter": 2, "decoder_language_adapter": 2},
            "Received: cross_attention_adapter, decoder_language",
        ),
    ],
)
def test_tensors_that_adapterhub_has_no_place_for_are_refused(tmp_path, lengths, message):
    tensors = drawn({name: (length, 2, 2 * HIDDEN + 2) for name, length in lengths.items()})

    with pytest.raises(PromptFileError, match=message):
        write_adapterhub_adapter(tmp_path / "film", TaskPrompt(tensors=tensors, method="any"))
