"""A method that is not in this library: what it may leave out, what is refused, and how a config and a saved model find it."""

import dataclasses
import importlib.metadata
import sys
from typing import Literal

import numpy as np
import pytest
from keras import ops
from pydantic import Field

import softprompt_tf as sp
from softprompt_tf.config import run_config
from softprompt_tf.errors import ConfigError, PromptError
from softprompt_tf.methods import METHODS, LengthConfig, MethodRow, PromptMethod, task_ids_of
from softprompt_tf.methods.other_packages import GROUP, Methods

ROWS = np.arange(2 * 16, dtype="float32").reshape(2, 16) / 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gated(PromptMethod):
    """A prompt whose rows are scaled; `made` is what its fold gives, by name."""

    length: int = 2
    made: str = "prompt"
    width: int = 16
    drawn: tuple[str, ...] = ("rows", "gate")

    @property
    def name(self):
        return "gated"

    def settings(self):
        return {"length": self.length}

    def shapes(self, sizes):
        return {"rows": (self.length, sizes.hidden_dim), "gate": (self.length, 1)}

    def draw(self, vocabulary, sizes, seed, task_id):
        values = {"rows": ROWS, "gate": np.array([[2.0], [3.0]], "float32")}
        return {name: values[name] for name in self.drawn}

    def fold(self, variables, sizes):
        rows = ops.tile(variables["rows"] * variables["gate"], (1, 2))
        return {self.made: rows[..., : self.width]}


def gated(length=2, *, task_ids=None, seed=0):
    return Gated(length=length, task_ids=task_ids, seed=seed)


class GatedConfig(LengthConfig):
    method: Literal["gated"] = Field(default="gated", description="the name of a prompt method")

    def make(self, tasks, *, seed):
        return gated(self.length, task_ids=task_ids_of(tasks), seed=seed)


GATED = MethodRow(gated, GatedConfig)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(METHODS, "gated", GATED)


def test_its_file_has_what_it_made_and_answers_without_it(one_layer_t5, tmp_path):
    model = sp.PromptedT5(one_layer_t5, gated(), labels=["no", "yes"])
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")

    task = sp.load_prompt(tmp_path / "it.safetensors")

    assert (task.method, list(task.tensors)) == ("gated", ["prompt"])
    np.testing.assert_allclose(task.prompt, ROWS * [[2.0], [3.0]], rtol=1e-6)
    assert [variable.name for variable in model.trainable_variables] == ["rows", "gate"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"made": "promt"}, "known names. Received: `promt`. Did you mean `prompt`"),
        (
            {"width": 17},
            r"`prompt` of the method gated must have the shape \[P, H\], on this T5 \[.., 16\]. Received: shape \[2, 17\]",
        ),
        ({"made": "text_offsets", "width": 9}, r"`text_offsets` of the method gated .* Received: shape \[2, 9\]"),
        ({"drawn": ("rows",)}, "must draw first values for `gate`. Received: rows"),
    ],
    ids=["name", "width", "other tensor", "no first value"],
)
def test_what_no_task_could_have_is_refused_before_the_training(one_layer_t5, settings, message):
    with pytest.raises(PromptError, match=message):
        sp.PromptedT5(one_layer_t5, Gated(**settings))


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
@pytest.mark.parametrize("task_ids", [None, ("a", "b")], ids=["one task", "two tasks"])
def test_first_values_that_are_no_numbers_are_refused_before_the_training(one_layer_t5, monkeypatch, wrong, task_ids):
    gates = np.array([[2.0], [wrong]], "float32")
    monkeypatch.setattr(Gated, "draw", lambda *_: {"rows": ROWS, "gate": gates})

    with pytest.raises(
        PromptError, match="must be finite. Received: NaN or infinite ones of `gate`, which the method gated"
    ):
        sp.PromptedT5(one_layer_t5, gated(task_ids=task_ids))


def test_a_config_knows_it_when_it_is_registered(registered, monkeypatch, tmp_path):
    task = {"name": "it", "train": "t.jsonl", "validation": "t.jsonl", "inputs": "{text}", "targets": "{label}"}
    values = {"backbone": "mini", "task": task, "output_dir": "x"}

    config = run_config({**values, "prompt": {"method": "gated", "length": 2}})

    assert config.prompt.make([], seed=7) == gated(2, seed=7)
    assert config.model_dump()["prompt"] == {"method": "gated", "length": 2}
    assert run_config({**values, "prompt": config.prompt.model_dump()}) == config
    with pytest.raises(ConfigError, match=r"Unknown key `prompt.rank`"):
        run_config({**values, "prompt": {"method": "gated", "rank": 2}})
    with pytest.raises(ConfigError, match=r"must be one of prompt_tuning, .*, gated\. .*Did you mean `gated`"):
        run_config({**values, "prompt": {"method": "gatd"}})


def test_a_saved_model_needs_it(one_layer_t5, tmp_path, monkeypatch):
    model = sp.PromptedT5(one_layer_t5, gated(), labels=["no", "yes"])
    model.save(tmp_path / "it.keras")

    with pytest.raises(PromptError, match=r"a name of `softprompt_tf.methods.METHODS`. Received: 'gated'. Install"):
        sp.load_model(tmp_path / "it.keras")
    monkeypatch.setitem(METHODS, "gated", GATED)
    assert sp.load_model(tmp_path / "it.keras").method == model.method


def test_one_that_folds_needs_settings_to_be_saved_with_the_model(one_layer_t5, tmp_path, monkeypatch):
    model = sp.PromptedT5(one_layer_t5, gated(), labels=["no", "yes"])
    monkeypatch.setattr(Gated, "settings", PromptMethod.settings)

    with pytest.raises(PromptError, match="with a `fold` must have `settings`.*Received: none of Gated.*`save_prompt`"):
        model.save(tmp_path / "it.keras")
    assert list(tmp_path.iterdir()) == []


def test_installed_packages_bring_methods_whose_code_runs_when_they_are_asked_for(tmp_path, monkeypatch):
    information = tmp_path / "own_methods-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own-methods\nVersion: 1\n")
    lines = [
        "gated = own_methods:GATED",
        "lora = own_methods:GATED",
        "other = own_methods:GATED",
        "lost = own_methods:LOST",
    ]
    (information / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    (tmp_path / "own_methods.py").write_text(f"import sys\nGATED = sys.modules[{__name__!r}].GATED\n")
    monkeypatch.syspath_prepend(tmp_path)

    own = dict(METHODS)
    methods = Methods(own, importlib.metadata.entry_points(group=GROUP))

    assert list(methods) == [*own, "gated", "other", "lost"]
    assert len(methods) == len(own) + 3
    assert "lost" in methods
    assert "own_methods" not in sys.modules
    assert methods["gated"] == GATED
    assert methods["lora"] is own["lora"]
    assert list(methods.that_load()) == [*own, "gated"]
    with pytest.raises(
        ConfigError, match="other of own-methods must be .* ValueError: its config has the method 'gated'"
    ):
        methods["other"]
    with pytest.raises(
        ConfigError, match=r"lost of own-methods must be .* AttributeError: .*LOST.*\. Mend or uninstall"
    ):
        methods["lost"]
    with pytest.raises(KeyError):
        methods["nothing"]
