"""`softprompt evaluate`: score a prompt, or several that vote or are mixed, on a split of a task."""

import argparse
import json
from typing import Any

from softprompt_tf.backbones.backbone_option import add_backbone_option, backbone_of
from softprompt_tf.errors import ConfigError
from softprompt_tf.progress import say
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.settings.spelling import check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "prompt",
        nargs="+",
        help="a prompt file; with several files, each is scored, and so is their majority vote or mixture",
    )
    parser.add_argument("--task", required=True, help="a task's YAML file, or the name of a shipped one")
    parser.add_argument(
        "--split", default="validation", choices=("train", "validation", "test"), help="the rows to score"
    )
    parser.add_argument("--limit", type=int, help="score only this many rows, and the others of their groups")
    parser.add_argument("--predictions", help="write one JSON line per row to this file")
    parser.add_argument(
        "--by-label",
        action="store_true",
        help="print recall, precision and F1 of each label, and which labels it was taken for, too",
    )
    add_backbone_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the metrics as JSON: a line, or one for each prompt and one for all.

    Raises:
      SoftPromptError: for a mistake in a file, or what fits together.
    """
    from softprompt_tf.tasks import load_task

    check_files(arguments.prompt)
    task = load_task(find_config(arguments.task, "tasks"))
    if arguments.by_label and not task.label_words:
        raise ConfigError(f"`--by-label` needs a task with `labels`. Received: {arguments.task}, which has none.")
    examples = task.examples(arguments.split, limit=arguments.limit)

    from softprompt_tf.backbones import load_t5
    from softprompt_tf.evaluation.evaluation import evaluate_examples
    from softprompt_tf.evaluation.scores import write_predictions
    from softprompt_tf.methods import load_prompt
    from softprompt_tf.model.prompted_t5 import PromptedT5
    from softprompt_tf.model.task_method import check_fits

    prompts = [load_prompt(path) for path in arguments.prompt]
    t5 = load_t5(arguments.backbone or backbone_of(prompts[0]))
    for prompt in prompts:
        check_fits(prompt, t5)
    _tell_cut_rows(prompts[0], examples, t5, name=f"{task.name}, {arguments.split}")
    asked = {"task": task.name, "split": arguments.split, "rows": len(examples)}
    if len(prompts) == 1:
        scores = evaluate_examples(PromptedT5(t5, prompts[0]), task, examples)
        print(json.dumps({**asked, **scores.metrics}))
    else:
        from softprompt_tf.evaluation.ensemble import PromptEnsemble
        from softprompt_tf.evaluation.ensemble_scores import evaluate_ensemble

        results = evaluate_ensemble(PromptEnsemble(t5, prompts), task, examples)
        for path, member in zip(arguments.prompt, results.members, strict=True):
            print(json.dumps({**asked, "prompt": path, **member.metrics}))
        print(
            json.dumps({**asked, "mean": results.mean(), "best": results.best(), "ensemble": results.ensemble.metrics})
        )
        scores = results.ensemble
    if arguments.by_label:
        from softprompt_tf.evaluation.by_label import label_scores, label_table

        for line in label_table(label_scores(task, scores.predictions)):
            say(line)
    if arguments.predictions:
        write_predictions(arguments.predictions, scores.predictions)


def _tell_cut_rows(prompt: Any, examples: Any, t5: Any, *, name: str) -> None:
    from softprompt_tf.methods.task_tensors import text_places
    from softprompt_tf.tasks import tell_cut_examples

    inputs, targets = prompt.max_input_tokens or 512, prompt.max_target_tokens or 32
    limits = {"max_input_tokens": inputs, "max_target_tokens": targets}
    tell_cut_examples(examples, t5.tokenize, **limits, name=name, places=text_places(prompt.lengths))
