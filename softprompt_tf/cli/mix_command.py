"""`softprompt mix`: learn how much each of several prompts counts, and write them with their weights."""

import argparse
import json
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import add_backbone_option, backbone_of
from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.settings.spelling import check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("prompt", nargs="+", help="two or more prompt files of one task")
    parser.add_argument("--task", required=True, help="a task's YAML file, or the name of a shipped one")
    parser.add_argument(
        "--split",
        default="validation",
        choices=("train", "validation", "test"),
        help="the rows that the weights are learned from",
    )
    parser.add_argument("--limit", type=int, help="read only this many rows")
    parser.add_argument("--output", required=True, help="a new directory, for the prompts with their weights")
    add_backbone_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each prompt and one for the mixture, and write the prompts.

    Raises:
      SoftPromptError: for a mistake in a file, or what fits together.
    """
    target = Path(arguments.output)
    if target.exists():  # before anything is loaded
        raise ConfigError(f"`--output` must be a new directory. Received: {target}, which exists. Choose another name.")
    check_files(arguments.prompt)
    from softprompt_tf.tasks import load_task

    task = load_task(find_config(arguments.task, "tasks"))
    examples = task.examples(arguments.split, limit=arguments.limit)

    from softprompt_tf.backbones import load_t5
    from softprompt_tf.evaluation import PromptEnsemble, learn_mixture
    from softprompt_tf.methods import load_prompt

    prompts = [load_prompt(path) for path in arguments.prompt]
    t5 = load_t5(arguments.backbone or backbone_of(prompts[0]))
    mixture = learn_mixture(PromptEnsemble(t5, prompts), task, examples)
    files = _write(target, mixture.members)
    for path, file, weight, alone in zip(arguments.prompt, files, mixture.weights, mixture.of_members, strict=True):
        print(json.dumps({"prompt": path, "file": str(file), "weight": weight, "log_likelihood": alone}))
    asked = {"task": task.name, "split": arguments.split, "rows": len(examples)}
    print(json.dumps({**asked, "mixture": mixture.log_likelihood, "with_equal_weights": mixture.of_equal_weights}))


def _write(target: Path, members: Any) -> list[Path]:
    """Write the members in order, all of them or none; return their files."""
    from softprompt_tf.files.new_directory import new_directory
    from softprompt_tf.methods import write_prompt

    names = [f"member_{number}.safetensors" for number in range(1, len(members) + 1)]
    with new_directory(target, error_type=ConfigError) as staging:
        for name, member in zip(names, members, strict=True):
            write_prompt(staging / name, member)
    return [target / name for name in names]
