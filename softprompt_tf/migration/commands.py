"""`softprompt migrate` and `softprompt recycle`: move the tasks of an export, or one prompt, to another backbone."""

import argparse
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP, backbone_of, check_backbone_path
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.methods.recycling import WAYS
from softprompt_tf.migration.settings import NO_RECYCLING, MigrationSettings, default_training
from softprompt_tf.settings.spelling import check_files
from softprompt_tf.shown_numbers import counted


def add_commands(commands: Any) -> None:
    """Add both commands to the sub-parsers of `softprompt`."""
    _add_recycle(commands)
    migrate = commands.add_parser(
        "migrate",
        help="move every task of an export to another backbone, from unlabelled text; continues where it was stopped",
    )
    migrate.add_argument("export", help="the export's base directory, or one of its versions")
    migrate.add_argument("--backbone", required=True, help=f"the new T5: {BACKBONE_HELP}")
    migrate.add_argument(
        "--text",
        required=True,
        action="append",
        nargs="+",
        metavar="[ID=]FILE",
        help="a text per line (.txt), or rows with the field `text` (.jsonl, .json, .csv, .tsv, .parquet), as requests bring "
        "them. ID=FILE is for one task, FILE for all tasks without their own",
    )
    migrate.add_argument(
        "-o", "--output", required=True, help="a directory for the prompt files, the table and checkpoints"
    )
    migrate.add_argument("--task", action="append", metavar="ID", help="migrate only this task; may be repeated")
    migrate.add_argument("--length", type=int, help="rows of the new prompts; default: those of the old ones, or 20")
    migrate.add_argument(
        "--recycle",
        choices=(*WAYS, NO_RECYCLING),
        default="v2v-lin",
        help="how the old prompt becomes the start of the new one; default: v2v-lin",
    )
    migrate.add_argument("--held-out", type=float, default=0.2, help="share of lines not trained on; default: 0.2")
    migrate.add_argument(
        "--seed", type=int, default=1, help="decides the split, the first values and the order of the rows; default: 1"
    )
    training = default_training()
    for name, kind, text in _TRAINING_OPTIONS:
        default = getattr(training, name)
        migrate.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text}; default: {default}"
        )
    migrate.add_argument(
        "--optimizer", choices=("adafactor", "adam"), default="adafactor", help="the optimizer; default: adafactor"
    )
    migrate.add_argument(
        "--schedule", choices=("constant", "cosine"), default="constant", help="how the learning rate changes"
    )
    migrate.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="what the new T5 computes in"
    )
    migrate.set_defaults(run=_migrate)


def _add_recycle(commands: Any) -> None:
    recycle = commands.add_parser(
        "recycle", help="turn a prompt into one for another T5, from the two embedding tables and without data"
    )
    recycle.add_argument("prompt", help="a prompt file")
    recycle.add_argument("--backbone", required=True, help=f"the new T5: {BACKBONE_HELP}")
    recycle.add_argument("--from", dest="old_backbone", help="the T5 of the prompt; default: the one that it names")
    recycle.add_argument(
        "--way",
        choices=WAYS,
        default=WAYS[0],
        help="a linear map, a network, or linear combinations of embeddings; default: v2v-lin",
    )
    recycle.add_argument("--seed", type=int, default=0, help="seed of the network (v2v-nn); default: 0")
    recycle.add_argument("-o", "--output", required=True, help="the new prompt file, .safetensors")
    recycle.set_defaults(run=_recycle)


_TRAINING_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("steps", int, "batches for each task"),
    ("batch_size", int, "rows per step"),
    ("learning_rate", float, "the optimizer's rate"),
    ("warmup_steps", int, "steps in which the rate rises"),
    ("evaluate_every", int, "steps between two comparisons, of which the best is kept"),
    ("checkpoint_every", int, "steps between two checkpoints"),
)


def _migrate(arguments: argparse.Namespace) -> None:
    files = _files([value for values in arguments.text for value in values])
    check_files([arguments.export, *(path for paths in files.values() for path in paths)])
    settings = _settings(arguments)
    from softprompt_tf.migration.agreement import table_lines
    from softprompt_tf.migration.lines import read_lines
    from softprompt_tf.migration.migration import migrate
    from softprompt_tf.runs.summary import export_command

    result = migrate(
        arguments.export,
        arguments.backbone,
        {task: read_lines(paths) for task, paths in files.items()},
        arguments.output,
        task_ids=arguments.task,
        settings=settings,
    )
    print("\n".join(table_lines(result.tasks)))
    if result.prompts:
        print(f"\nNext: {export_command(result.prompts, result.output_dir, backbone=arguments.backbone)}")
    failed = [task.task_id for task in result.tasks if task.error]
    if failed:
        others = f" The others are in {result.output_dir}." if result.prompts else ""
        raise TrainingError(
            f"{len(failed)} of {counted(len(result.tasks), 'task')} failed: {', '.join(failed)}.{others} Run the same command "
            "again to try these once more."
        )


def _recycle(arguments: argparse.Namespace) -> None:
    check_files([arguments.prompt])
    check_backbone_path(arguments.old_backbone)
    if Path(arguments.output).suffix != ".safetensors":
        raise ConfigError(f"`--output` must end in .safetensors. Received: {arguments.output}.")
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.methods import load_prompt, write_prompt
    from softprompt_tf.migration.recycle import recycled_task

    prompt = load_prompt(arguments.prompt)
    old, new = load_t5(arguments.old_backbone or backbone_of(prompt)), load_t5(arguments.backbone)
    task = recycled_task(prompt, old, new, way=arguments.way, seed=arguments.seed)
    path = write_prompt(arguments.output, task)
    print(f"{path}: {counted(task.length, 'row')} on {new.name}, by {arguments.way} from {old.name}")


def _settings(arguments: argparse.Namespace) -> MigrationSettings:
    from pydantic import ValidationError

    chosen = {name: getattr(arguments, name) for name, _, _ in _TRAINING_OPTIONS}
    chosen |= {name: getattr(arguments, name) for name in ("optimizer", "schedule", "precision")}
    try:
        training = type(default_training()).model_validate(chosen)
    except ValidationError as error:
        detail = error.errors()[0]
        option = str(detail["loc"][0]).replace("_", "-")
        raise ConfigError(f"`--{option}` is out of range: {detail['msg']}. Received: {detail['input']}.") from None
    return MigrationSettings(
        length=arguments.length,
        training=training,
        recycle=arguments.recycle,
        held_out=arguments.held_out,
        seed=arguments.seed,
    )


def _files(values: list[str]) -> dict[str, list[str]]:
    """Return task id -> files, "" for those of all tasks; a name with an equals sign that is there is a file."""
    files: dict[str, list[str]] = {}
    for value in values:
        task, equals, path = value.partition("=")
        is_file = not equals or Path(value).exists()
        if not is_file and not (task and path):
            raise ConfigError(f"`--text` must be FILE or ID=FILE. Received: {value!r}.")
        files.setdefault("" if is_file else task, []).append(value if is_file else path)
    return files
