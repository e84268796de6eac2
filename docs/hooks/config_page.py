"""Make the reference page of config keys from the typed schema, the task's docstring and the commented defaults."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from softprompt_tf.config import RunConfig, TaskConfig, TrainingConfig
from softprompt_tf.experiments.settings import Experiment
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.tasks import POSTPROCESSORS, PREPROCESSORS

ROOT = Path(__file__).resolve().parents[2]
INTRODUCTION = """# Config keys

All keys of a run's config, of a task file and of a sweep, with their defaults. The
[tutorial](../tutorials/csv_task.md) has a short config to begin with: every key that you leave out has its
default.

A run's config is a YAML file with the keys of [a run](#run). `key=value` on the command line overrides one,
with dots: `training.steps=200`. An unknown key is an error.

`include: [FILE, ...]` merges other files first, in order; the file's own keys come last. Paths are
relative to the file that names them.
"""
SOURCES = """The section `training`. Its defaults are the paper's recipe: PT is google-research/prompt-tuning, T5X is
google-research/t5x, the code that a value comes from.
"""
SECTIONS_OF_A_RUN = {
    "task": "[a task](#task), the path of a task file, or a list of several",
    "prompt": "[the method and its settings](#prompt)",
    "training": "[the recipe](#training)",
}
NOTES_OF_A_TASK = {
    "metrics": "[names of metrics](metrics.md); the score of a prompt is their mean.",
    "train": "[source](../how_to/write_a_task.md#choose-the-source-of-the-rows) of the rows to learn from; may be null.",
}
SETTINGS_OF_METHODS = {
    "scale": "standard deviation of the first keys and values; of late prompts, the factor of the rows, null = measured",
    "encoder": "true or false (keys and values in the encoder's self-attention)",
    "decoder": "true or false (keys and values in the decoder's self-attention)",
    "cross": "true or false (keys and values in the attention to the encoder output)",
    "mlp_dim": "width of the network that makes the keys and values, or null for none",
    "layer": 'the first encoder layer that sees the rows, or "output"',
}
CHANGED_LAYERS = {
    "encoder": "true or false (whether the encoder's layers are changed)",
    "decoder": "true or false (whether the decoder's self-attention and feed-forwards are changed)",
    "cross": "true or false (whether the attention to the encoder output is changed)",
}
METHODS_THAT_CHANGE_LAYERS = ("lora", "ia3", "adapters", "mad_x")


def config_page() -> str:
    """Return the page of all keys."""
    task = documented_arguments(ROOT / "softprompt_tf" / "tasks" / "task.py", "Task") | NOTES_OF_A_TASK
    task["preprocess"] = _with_names(task["preprocess"], "PREPROCESSORS", PREPROCESSORS)
    task["postprocess"] = _with_names(task["postprocess"], "POSTPROCESSORS", POSTPROCESSORS)
    run = documented_arguments(ROOT / "softprompt_tf" / "config.py", "RunConfig") | SECTIONS_OF_A_RUN
    defaults = commented_values((ROOT / "configs" / "defaults.yaml").read_text(encoding="utf-8"))
    methods = [f"### {name}\n\n{_table(row.config, _notes_of_method(name))}" for name, row in METHODS.items()]
    return "\n".join(
        [
            INTRODUCTION,
            f"## Run\n\n{_table(RunConfig, run)}",
            f"## Task\n\nThe keys of a task file.\n\n{_table(TaskConfig, task)}",
            "## Prompt\n\nThe section `prompt`. `method` decides which keys it may have.\n",
            *methods,
            f"## Training\n\n{SOURCES}\n{_table(TrainingConfig, defaults, with_forms=True)}",
            "## Sweep\n\nA sweep's file has `experiments:`, a mapping from a name to these keys. Keys of the file itself hold for "
            f"all its experiments. `prompt` and `training` are the sections above.\n\n{_table(Experiment, _experiment_keys())}",
        ]
    )


def _notes_of_method(name: str) -> dict[str, str]:
    return SETTINGS_OF_METHODS | (CHANGED_LAYERS if name in METHODS_THAT_CHANGE_LAYERS else {})


def _with_names(note: str, registry: str, names: Iterable[str]) -> str:
    """Return a note with the names that a registry has instead of the registry's own name."""
    return note.replace(f"names of `softprompt_tf.tasks.{registry}`", f"names of {', '.join(names)}")


def _experiment_keys() -> dict[str, str]:
    path = ROOT / "softprompt_tf" / "experiments" / "settings.py"
    return documented_arguments(path, "RunSettings") | documented_arguments(path, "Experiment")


def _table(section: type[BaseModel], notes: dict[str, str], *, with_forms: bool = False) -> str:
    """Return a row per key: its default, and its note or the form that its value must have, or both."""
    rows = []
    for name, field in section.model_fields.items():
        default = _default(field.is_required(), field.get_default(call_default_factory=True, validated_data={}))
        form, note = field.description or "", notes.get(name, "")
        text = _with_form(form, note) if with_forms and note else note or form
        rows.append(f"| `{name}` | {default} | {_cell(text)} |")
    return "| key | default | value |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _with_form(form: str, note: str) -> str:
    """Return the form of a value and its note, which says what stands in brackets better, or begins with the form."""
    plain = re.sub(r" \((?:[^()]|\([^()]*\))*\)", "", form)
    return note if note.startswith(plain.split()[0].rstrip(",")) else f"{plain}: {note}"


def _default(is_required: bool, value: Any) -> str:
    if is_required:
        return "required"
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict) and not value:
        return "none"
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, tuple) else f"`{value}`"


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("|", "\\|")


def documented_arguments(path: Path, class_name: str) -> dict[str, str]:
    """Return name -> text of the section `Args:` of a class's docstring, without importing its module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    text = (ast.get_docstring(found) or "").partition("Args:\n")[2].partition("\n\n")[0]
    arguments: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        match = re.match(r"  (\w+(?:, \w+)*): (.*)", line)
        if match:
            names = match[1].split(", ")
            arguments.update(dict.fromkeys(names, match[2]))
        else:
            arguments.update({name: f"{arguments[name]} {line.strip()}" for name in names})
    return arguments


def commented_values(text: str) -> dict[str, str]:
    """Return key -> comment of the lines of a YAML file; a line that is only a comment continues the one before."""
    comments: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(r"\s*(\w+):[^#]*#\s*(.*)", line)
        if match:
            name = match[1]
            comments[name] = match[2]
        elif name and re.match(r"\s+#", line):
            comments[name] += " " + line.strip(" #")
        else:
            name = ""
    return comments
