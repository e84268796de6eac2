"""`softprompt sweep` and `softprompt reproduce`: run experiments and write a report."""

import argparse
import importlib.resources
import os
import sys
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP
from softprompt_tf.errors import ConfigError
from softprompt_tf.progress import say
from softprompt_tf.settings.shipped_configs import find_config


def add_commands(commands: Any) -> None:
    """Add both commands to the sub-parsers of `softprompt`."""
    sweep = commands.add_parser(
        "sweep", help="run the experiments of a YAML file and write a report; continues where it was stopped"
    )
    sweep.add_argument("config", type=Path, help="a YAML file, or the name of a shipped one, such as prompt_length")
    _add_shared(sweep)
    sweep.set_defaults(run=_sweep)

    reproduce = commands.add_parser(
        "reproduce", help="run the paper's experiments in small and write a report; continues where it was stopped"
    )
    reproduce.add_argument(
        "--config", type=Path, help="the experiments; default: the library's configs/experiments/reproduce.yaml"
    )
    _add_shared(reproduce)
    reproduce.set_defaults(run=_reproduce)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, help="the directory for results, prompts, report.html and report.md"
    )
    parser.add_argument("--backbone", help=f"instead of the file's: {BACKBONE_HELP}")
    parser.add_argument(
        "--data", type=Path, help="the directory of the data sets: the value of ${SOFTPROMPT_DATA} in task files"
    )
    parser.add_argument("--minutes", type=float, help="begin no run after this many minutes; 0 only writes the report")
    parser.add_argument(
        "--together",
        type=int,
        metavar="N",
        help="train up to N prompts at once that differ in seed, first values or the optimizer's settings alone; 1: one after "
        "the other; default: 8 where the method starts from cached states, else 1",
    )
    parser.add_argument("--plan", action="store_true", help="only print the runs, and which of them are finished")


def _sweep(arguments: argparse.Namespace) -> None:
    _run(arguments.config, arguments, leave_out=False)


def _reproduce(arguments: argparse.Namespace) -> None:
    bundled = Path(str(importlib.resources.files("softprompt_tf.configs") / "experiments" / "reproduce.yaml"))
    _run(arguments.config or bundled, arguments, leave_out=True)


def _run(config: Path, arguments: argparse.Namespace, *, leave_out: bool) -> None:
    if arguments.minutes is not None and not 0 <= arguments.minutes < float("inf"):
        raise ConfigError(f"`--minutes` must be a number from 0 up. Received: {arguments.minutes}.")
    if arguments.data is not None and not arguments.data.is_dir():
        raise ConfigError(f"`--data` must be a directory. Received: {arguments.data}.")
    if arguments.together is not None and arguments.together < 1:
        raise ConfigError(f"`--together` must be a whole number above 0. Received: {arguments.together}.")
    path = find_config(config, "experiments")
    _check(path, arguments, leave_out=leave_out)
    from softprompt_tf.experiments.reproduce import run_experiments

    run_experiments(
        path,
        arguments.output,
        backbone=arguments.backbone,
        data=arguments.data,
        minutes=arguments.minutes,
        leave_out=leave_out,
        only_plan=arguments.plan,
        together=arguments.together,
        tell=lambda line: say(line, stream=sys.stdout),
    )


def _check(path: Path, arguments: argparse.Namespace, *, leave_out: bool) -> None:
    """Tell a mistake in the config, or in what it names, before TensorFlow is loaded, which takes seconds.

    Raises:
      ConfigError, DataError: for the first one.
    """
    from softprompt_tf.experiments.plan import make_plan
    from softprompt_tf.experiments.settings import read_sweep

    if arguments.data is not None:
        os.environ["SOFTPROMPT_DATA"] = str(arguments.data.absolute())
    make_plan(read_sweep(path, backbone=arguments.backbone), leave_out=leave_out)
