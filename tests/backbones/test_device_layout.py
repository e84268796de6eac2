"""A T5 laid over several devices, against one on one device; and what does not go with it."""

import json
from pathlib import Path

import pytest

import softprompt_tf as sp
from softprompt_tf.backbones import write_preset
from softprompt_tf.backbones.loading.consecutive_parts import consecutive_parts
from softprompt_tf.errors import BackboneError, TrainingError
from softprompt_tf.model.worker_step import check_trains_on_workers


@pytest.fixture(scope="module")
def preset(two_layer_t5, tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "tiny"
    write_preset(two_layer_t5.backbone, two_layer_t5.tokenizer.proto, directory, dtype="float32")
    return directory


@pytest.fixture(scope="module")
def laid_out(preset):
    return sp.load_t5(preset, devices=["CPU:0"])


@pytest.mark.thorough
def test_a_t5_on_three_devices_computes_what_it_computes_on_one(preset, two_layer_t5, forked, tmp_path):
    done = forked.run(Path(__file__).with_name("three_devices.py"), preset, tmp_path)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["devices"] == ["CPU:1", "CPU:2", "CPU:3"]
    on_one, on_three = (dict(each) for each in report["bytes"])
    assert list(on_one) == ["CPU:0"]
    assert list(on_three) == report["devices"]
    assert sum(on_three.values()) == on_one["CPU:0"]
    assert max(on_three.values()) < on_one["CPU:0"] / 2
    assert tuple(on_three.values()) == sp.plan(two_layer_t5, devices=3).device_weights
    assert report["weights"] == 0.0
    assert report["fingerprints"][0] == report["fingerprints"][1]
    assert report["too many"].startswith("A device must hold at least one layer. Received: 5 devices for 4 layers.")
    assert max(report["gradients"].values()) < 1e-6, report["gradients"]
    assert report["trained"] < 1e-6
    assert report["same answers"]
    # No product of a training step, forward or backward, runs on a device that holds none of the weights.
    assert set(report["products"]) == {"device:CPU:1", "device:CPU:2"}
    assert not {name for name in report["devices of the export"] if name.endswith(("1", "2", "3"))}
    assert report["bytes of int8"][0] == report["bytes of int8"][1] < on_one["CPU:0"]
    assert "a copy of the T5 on each device. Received: 2 replicas for one on CPU:1, CPU:2" in report["replicas"]
    assert report["statuses of runs"] == [0, 0]
    assert report["runs"] < 1e-5


@pytest.mark.parametrize(
    ("sizes", "parts", "ends"),
    [((1, 1, 1, 1), 2, (2, 4)), ((5, 1, 1, 1, 2, 2), 2, (2, 6)), ((1, 1, 9), 3, (1, 2, 3)), ((4, 4, 4), 1, (3,))],
)
def test_the_largest_part_is_as_small_as_possible(sizes, parts, ends):
    assert consecutive_parts(sizes, parts) == ends


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": ["GPU:7"]}, r"`devices` must be among CPU:0.*\. Received: 'GPU:7'"),
        ({"devices": ["CPU:0", "/cpu:0"]}, "must be different ones. Received: CPU:0, CPU:0"),
        ({"devices": "CPU:0"}, r"must be a list of names.*Received: 'CPU:0'"),
        ({"devices": []}, r"must be a list of names.*Received: \[\]"),
        ({"devices": ["CPU:0"], "dropout": 0.1}, "must have no dropout. Received: dropout=0.1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_wrong_devices_are_refused(preset, settings, message):
    with pytest.raises(BackboneError, match=message):
        sp.load_t5(preset, **settings)


def test_xla_and_workers_are_refused(laid_out):
    model = sp.PromptedT5(laid_out, sp.prompt_tuning(length=2))
    with pytest.raises(
        TrainingError, match=r"XLA compiles for one device. Received: jit_compile=True for a T5 on CPU:0"
    ):
        model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), jit_compile=True)

    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy())
    with pytest.raises(TrainingError, match="Several workers need a complete T5 each. Received: a T5 on CPU:0"):
        check_trains_on_workers(model)
