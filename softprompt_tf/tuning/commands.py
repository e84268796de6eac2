"""`softprompt tune`: search for a good prompt of a task within a time."""

import argparse
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP
from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.tuning.budget import process_started
from softprompt_tf.tuning.methods_tried import METHODS_TRIED


def add_commands(commands: Any) -> None:
    """Add the command to the sub-parsers of `softprompt`."""
    tune = commands.add_parser(
        "tune", help="search for a good prompt of a task within a time; continues where it was stopped"
    )
    tune.add_argument("task", help="a task's YAML file, or the name of a shipped one such as trec")
    tune.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="how long the search takes, with loading, scoring and writing; default: 10",
    )
    tune.add_argument("--backbone", default="mini", help=f"{BACKBONE_HELP}. Default: mini")
    tune.add_argument(
        "-o",
        "--output",
        help="the directory for the prompt, tune.json, learning_curve.svg and index.html; default: tuned/TASK",
    )
    tune.add_argument(
        "--seed", type=int, default=1, help="decides the first values, the order of the rows and all draws; default: 1"
    )
    tune.add_argument(
        "--sources",
        type=Path,
        metavar="DIR",
        help="trained prompts that candidates may start from; default: those that ship with the backbone",
    )
    tune.add_argument(
        "--method",
        dest="methods",
        action="append",
        metavar="NAME",
        help=f"a method that may be tried; may be repeated. One of {', '.join(METHODS_TRIED)}; default: all of them",
    )
    tune.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "auto"),
        default="float32",
        help="what the T5 computes in; auto: bfloat16 where it is faster on this machine and agrees with float32; default: float32",
    )
    tune.set_defaults(run=_tune)


def _tune(arguments: argparse.Namespace) -> None:
    if arguments.minutes <= 0:
        raise ConfigError(f"`--minutes` must be a number above 0. Received: {arguments.minutes:g}.")
    path = find_config(arguments.task, "tasks")
    from softprompt_tf.tasks import load_task

    task = load_task(path)
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.tuning.run_search import SearchSettings, run_search
    from softprompt_tf.tuning.summary import summary_lines

    settings = SearchSettings(
        backbone=arguments.backbone,
        output=Path(arguments.output or Path("tuned", task.name)),
        minutes=arguments.minutes,
        seed=arguments.seed,
        sources=arguments.sources,
        methods=tuple(arguments.methods or METHODS_TRIED),
        precision=arguments.precision,
    )
    record = run_search(
        task, lambda precision: load_t5(arguments.backbone, dtype=precision), settings, started=process_started()
    )
    print("\n".join(summary_lines(record, settings.output, task=task.name, backbone=arguments.backbone)))
