"""`softprompt predict`: answer texts or rows with a prompt, or several that vote, one JSON line each."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from softprompt_tf.backbones.backbone_option import add_backbone_option, backbone_of
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.json_lines import json_line
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.settings.spelling import check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "prompt", nargs="+", help="a prompt file; with several files, the majority or the mixture answers"
    )
    texts = parser.add_mutually_exclusive_group(required=True)
    texts.add_argument("--text", action="append", help="a text; may be given several times")
    texts.add_argument(
        "--input", help="rows with the template's fields: .jsonl, .json, .csv, .tsv, .parquet; or a text a line: .txt"
    )
    parser.add_argument(
        "--task",
        help="a task's YAML file or a shipped one's name: rows go through its preprocessing and template, answers through its "
        "postprocessing",
    )
    add_backbone_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print an answer for each text or row.

    Raises:
      SoftPromptError: for a mistake in a file, a text, or what fits together.
    """
    if arguments.task and arguments.text:
        raise ConfigError(
            "`--task` is for rows, which its preprocessing reads. Received: `--text` too. Write `--input FILE`."
        )
    check_files(arguments.prompt)
    task, rows = _rows(arguments)

    from softprompt_tf.backbones import load_t5
    from softprompt_tf.evaluation.ensemble import PromptEnsemble
    from softprompt_tf.methods import load_prompt
    from softprompt_tf.model.prompted_t5 import PromptedT5
    from softprompt_tf.model.task_match import warn_of_another_task

    prompts = [load_prompt(path) for path in arguments.prompt]
    texts = _texts(arguments, prompts[0].template, task, rows)
    _check_unicode(texts)
    t5 = load_t5(arguments.backbone or backbone_of(prompts[0]))
    model = PromptedT5(t5, prompts[0]) if len(prompts) == 1 else PromptEnsemble(t5, prompts)
    if task is not None:
        for path, prompt in zip(arguments.prompt, prompts, strict=True):
            warn_of_another_task(prompt, task, name=path)
    answers: Sequence[Any] = model.classify(texts) if prompts[0].labels else model.generate_scored(texts)
    for text, answer, row in zip(texts, answers, rows or [None] * len(texts), strict=True):
        line = {"inputs": text, **asdict(answer)}
        if task is not None and task.postprocess:
            line["answer"] = _postprocessed(answer, task, row)
        print(json_line(line))


def _rows(arguments: argparse.Namespace) -> tuple[Any, list[Any]]:
    """Return the task, if one is named, and the rows, preprocessed as it says; no rows where texts are given."""
    from softprompt_tf.tasks import load_task, preprocessed, read_rows

    task = load_task(find_config(arguments.task, "tasks")) if arguments.task else None
    if not arguments.input:
        return task, []
    rows = read_rows(arguments.input, columns=task.columns if task else None)
    if task is not None and task.preprocess:
        rows = list(preprocessed(iter(rows), task.preprocess))
        if not rows:
            raise DataError(f"{arguments.input}: {', '.join(task.preprocess)} left no rows of it.")
    return task, rows


def _texts(arguments: argparse.Namespace, template: str | None, task: Any, rows: Sequence[Any]) -> list[str]:
    from softprompt_tf.tasks import Template

    used = task.template if task else Template(template or "{text}", "{target}")
    if arguments.input:
        return [used.render_inputs(row) for row in rows]
    return [used.around(text) for text in arguments.text]


def _postprocessed(answer: Any, task: Any, row: Any) -> str:
    from softprompt_tf.tasks import postprocessed

    return postprocessed(getattr(answer, "label", None) or answer.text, row, task.postprocess)


def _check_unicode(texts: Sequence[str]) -> None:
    """Refuse half surrogate pairs: they stand for a command line's bytes that are not UTF-8, or came from JSON."""
    for text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(f"A text must be valid Unicode. Received: {ascii(text)[:80]}.")
