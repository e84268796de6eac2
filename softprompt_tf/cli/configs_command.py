"""`softprompt configs`: list the configs that ship with the library."""

import argparse

from softprompt_tf.settings.shipped_configs import KINDS, shipped_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="only these; default: all")


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each config."""
    for kind in KINDS if arguments.kind is None else (arguments.kind,):
        for name, path in shipped_configs(kind).items():
            print(f"{kind}/{name}  {path}")
