"""`softprompt demo`: do the complete job on three small tasks."""

import argparse
from pathlib import Path

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--output", default="demo_run", help="the directory to work in; started again, the demo continues"
    )
    parser.add_argument("--backbone", default="mini", help=f"{BACKBONE_HELP}. Default: mini")
    parser.add_argument("--steps", type=int, help="training steps for each task; default: 400")


def run(arguments: argparse.Namespace) -> None:
    """Work in the directory that was named; started again, the demo continues."""
    from softprompt_tf.demo.demo import run_demo

    run_demo(Path(arguments.output), backbone=arguments.backbone, steps=arguments.steps)
