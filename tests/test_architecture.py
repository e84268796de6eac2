"""Imports only go down, every public name is listed and documented, and the light modules stay light."""

import ast
import configparser
import importlib
import inspect
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each part may import itself and what stands above it in this list, unless FORBIDDEN says otherwise.
LAYERS = [
    ("version", "errors", "lazy_names"),
    (
        "typing",
        "target_format",
        "backbone_sizes",
        "prompt_places",
        "progress",
        "held_errors",
        "import_hook",
        "shown_numbers",
        "shown_text",
    ),
    ("injection", "quiet"),
    ("files", "keras_backend"),
    ("workers",),
    ("settings",),
    ("methods",),
    ("config_paths",),
    ("config",),
    ("backbones", "tasks"),
    ("texts", "replicas"),
    ("inference", "states"),
    ("model",),
    ("training",),
    ("saving",),
    ("evaluation", "interpretability"),
    ("runs", "pretraining"),
    ("baselines", "report", "resource_plan"),
    ("experiments", "tuning"),
    ("export",),
    ("demo", "migration"),
    ("cli",),
]
FORBIDDEN = {"backbones": {"methods", "tasks"}, "methods": {"backbones", "tasks"}, "tasks": {"backbones", "methods"}}
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# The same for the rooms of `export/`; its files outside of them are commands.
ROOMS = [("client", "session"), ("graph",), ("versions",), ("server", "bulk")]
ROOM_LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def source_files():
    files = list((ROOT / "softprompt_tf").rglob("*.py"))
    return files + list((ROOT / "export").rglob("*.py"))


def part_of(path):
    relative = path.relative_to(ROOT).with_suffix("").parts
    return "export" if relative[0] == "export" else relative[1]


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "softprompt_tf" and len(parts) > 1:
                yield parts[1]


def test_every_part_has_a_level():
    parts = {part_of(path) for path in source_files()} - {"__init__", "configs"}

    assert parts == set(LEVEL)


def test_imports_only_go_down():
    upward = [
        f"{path.relative_to(ROOT)} imports {part}"
        for path in source_files()
        if part_of(path) != "__init__"
        for part in imported_parts(path)
        if part != part_of(path) and (LEVEL[part] > LEVEL[part_of(path)] or part in FORBIDDEN.get(part_of(path), set()))
    ]

    assert upward == []


@pytest.mark.parametrize(
    "name",
    [
        "softprompt_tf",
        "softprompt_tf.backbones",
        "softprompt_tf.baselines",
        "softprompt_tf.evaluation",
        "softprompt_tf.experiments",
        "softprompt_tf.export",
        "softprompt_tf.export.client",
        "softprompt_tf.export.server",
        "softprompt_tf.interpretability",
        "softprompt_tf.methods",
        "softprompt_tf.migration",
        "softprompt_tf.pretraining",
        "softprompt_tf.report",
        "softprompt_tf.resource_plan",
        "softprompt_tf.tasks",
        "softprompt_tf.training",
        "softprompt_tf.tuning",
    ],
)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)

    for public in module.__all__:
        value = getattr(module, public)
        # A module of that name takes the place of a name that is loaded at its first use.
        assert public == "init" or not inspect.ismodule(value), f"{name}.{public} is a module"
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"


def test_the_public_names_are_these():
    import softprompt_tf
    import softprompt_tf.export
    from softprompt_tf.methods import METHODS

    others = [
        "Adafactor",
        "AutoPrompt",
        "Beam",
        "Classification",
        "ExactMatch",
        "FrozenT5",
        "Generation",
        "Greedy",
        "LabelAccuracy",
        "PromptedT5",
        "ResourcePlan",
        "SoftPromptError",
        "TargetCrossEntropy",
        "TokenAccuracy",
        "TuneResult",
        "found_words",
        "init",
        "load_model",
        "load_prompt",
        "load_t5",
        "plan",
        "train_prompt",
        "tune",
    ]
    assert softprompt_tf.__all__ == ["__version__", *sorted([*others, *METHODS])]
    assert softprompt_tf.export.__all__ == [
        "AnswerSettings",
        "AsyncPredictionClient",
        "FileAnswers",
        "ModelServer",
        "PredictionClient",
        "TaskInfo",
        "add_tasks",
        "answer_files",
        "list_tasks",
        "remove_tasks",
        "serve",
        "tls_credentials",
        "verify_saved_model",
        "write_saved_model",
    ]


def test_every_module_says_what_it_is_for():
    silent = [str(path) for path in source_files() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]

    assert silent == []


def test_the_client_starts_without_tensorflow_keras_and_numpy():
    code = (
        "import sys; from softprompt_tf.export import PredictionClient; "
        "print([name for name in ('tensorflow', 'keras', 'keras_hub', 'numpy') if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_there_is_one_softmax_over_attention_scores():
    calls = [
        f"{path.name}:{node.lineno}"
        for path in source_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "softmax"
    ]
    # The others are the loss's, over the vocabulary, and that of a task's weights for source prompts.
    assert sorted(call.partition(":")[0] for call in calls) == ["attempt.py", "attention.py", "losses.py"], calls


def test_the_rooms_of_export_import_only_downwards():
    found = {path.name for path in (ROOT / "export").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert found == set(ROOM_LEVEL)
    for room in found:
        for path in (ROOT / "export" / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                module = getattr(node, "module", None) or ""
                if isinstance(node, ast.ImportFrom) and module.startswith("softprompt_tf.export."):
                    other = module.split(".")[2]
                    assert other == room or ROOM_LEVEL[other] < ROOM_LEVEL[room], f"{path.name} imports {module}"


def test_no_modules_import_each_other_in_a_circle():
    statements = {}
    for path in source_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(("softprompt_tf", *parts) if parts[0] == "export" else parts).removesuffix(".__init__")
        body = ast.parse(path.read_text(encoding="utf-8")).body
        statements[name] = [node for node in body if isinstance(node, ast.ImportFrom)]

    def target(module, name):
        return f"{module}.{name}" if f"{module}.{name}" in statements else module

    graph = {
        name: {target(node.module, alias.name) for node in nodes for alias in node.names} & set(statements) - {name}
        for name, nodes in statements.items()
    }

    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle, where there is one


def test_setup_cfg_lists_every_package_so_that_a_wheel_has_it():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())

    found = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in source_files()}
    installed = {f"softprompt_tf.{name}" if name.startswith("export") else name for name in found}

    assert listed == installed - {"softprompt_tf.export.client.distribution"} | {"softprompt_tf.configs"}
