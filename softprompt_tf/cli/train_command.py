"""`softprompt train`: train the prompts of a config, in this process or in several."""

import argparse

from softprompt_tf.backbones.backbone_option import check_backbone_path
from softprompt_tf.cli import launch_workers
from softprompt_tf.config import dump_config, load_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.workers import read_cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "config", help="a run's YAML file, or the name of a shipped one such as sst2 (see `softprompt configs`)"
    )
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings to change, such as training.steps=50"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="train with N processes of this machine; they share each batch"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the resolved config and the result; return the exit status.

    Raises:
      SoftPromptError: for a mistake in the config, its data or its backbone.
    """
    overrides = [*arguments.overrides, *([] if arguments.workers is None else ["training.strategy=multi_worker"])]
    config = load_config(find_config(arguments.config, "runs"), overrides)
    local_target(config.output_dir, error_type=ConfigError)
    check_backbone_path(config.backbone)
    if arguments.workers is not None:
        verbose = ["--verbose"] if arguments.verbose else []
        return launch_workers.launch(["train", arguments.config, *overrides, *verbose], arguments.workers)
    launch_workers.end_with_launcher()
    from softprompt_tf.runs.source_choice import train_from_sources
    from softprompt_tf.runs.summary import summary_lines

    result = train_from_sources(config, on_start=lambda: print(dump_config(config), flush=True))
    if config.training.strategy != "multi_worker" or read_cluster().rank == 0:
        print("\n".join(summary_lines(result, backbone=config.backbone)))
    return 0
