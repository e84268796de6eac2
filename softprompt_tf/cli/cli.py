"""The command line: parse, call one function, print.

Exit status: 0 = done, 2 = a mistake in what was asked, reported in one line; 1 = a fault of this library; 130 = interrupted;
75 = another worker of the training was lost, start again.
Each command imports what it needs, so that `softprompt query` starts without TensorFlow.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP, add_backbone_option, backbone_of, check_backbone_path
from softprompt_tf.cli import launch_workers, mix_command, phrases_command, predict_command
from softprompt_tf.cli.help_text import HelpWithDefaults
from softprompt_tf.cli.lean_imports import lean_imports
from softprompt_tf.config import dump_config, load_config
from softprompt_tf.errors import ConfigError, SoftPromptError, VerificationError, WorkerLostError
from softprompt_tf.experiments.commands import add_commands as add_experiment_commands
from softprompt_tf.export import answer_files_command, query_command, serve_commands
from softprompt_tf.export import commands as export_commands
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.interpretability.commands import add_commands as add_interpretability_commands
from softprompt_tf.migration.commands import add_commands as add_migration_commands
from softprompt_tf.pretraining.commands import add_commands as add_pretraining_commands
from softprompt_tf.quiet import quiet
from softprompt_tf.resource_plan.commands import add_commands as add_plan_commands
from softprompt_tf.settings.shipped_configs import KINDS, find_config, shipped_configs
from softprompt_tf.settings.spelling import check_files
from softprompt_tf.tuning.commands import add_commands as add_tuning_commands
from softprompt_tf.version import __version__
from softprompt_tf.workers import read_cluster

_VERBOSE_HELP = "show what TensorFlow and other libraries say, too"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parsed = _parsed(build_parser(), arguments)
    try:
        with quiet(is_verbose=parsed.verbose), lean_imports():
            _check_paths(parsed)
            status = parsed.run(parsed) or 0
        sys.stdout.flush()  # here, and not at the end of the process, where nobody catches what goes wrong
        return int(status)
    except WorkerLostError as error:
        if not launch_workers.is_launched():  # else the launcher says which one
            print(f"softprompt: {error}", file=sys.stderr)
        return launch_workers.LOST_STATUS
    except SoftPromptError as error:
        print(f"softprompt: {error}", file=sys.stderr)
        return 1 if isinstance(error, VerificationError) else 2
    except KeyboardInterrupt as stop:
        print(f"softprompt: interrupted{f': {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does; nothing is to be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse, and let settings to change stand behind options too, where argparse has none."""
    parsed, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(parsed, "overrides") or any("=" not in each or each.startswith("-") for each in rest)):
        hint = "; settings are written key=value, such as training.steps=50" if hasattr(parsed, "overrides") else ""
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


def _check_paths(parsed: argparse.Namespace) -> None:
    """Tell before anything is loaded that a path to write is remote, or that a backbone's directory is not there.

    Raises:
      ConfigError: for the first one.
    """
    for name in ("output", "predictions"):
        if getattr(parsed, name, None) is not None:
            local_target(getattr(parsed, name), error_type=ConfigError)
    check_backbone_path(getattr(parsed, "backbone", None))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="softprompt",
        description="Soft prompts for one frozen T5: train, export, serve. Begin with `softprompt train sentiment`.",
    )
    parser.add_argument("--version", action="version", version=f"softprompt-tf {__version__}")
    parser.add_argument("--verbose", action="store_true", help=_VERBOSE_HELP)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    train = commands.add_parser("train", help="train the prompts of a config; continues where it was stopped")
    train.add_argument(
        "config", help="a run's YAML file, or the name of a shipped one such as sst2 (see `softprompt configs`)"
    )
    train.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings to change, such as training.steps=50"
    )
    train.add_argument(
        "--workers", type=int, metavar="N", help="train with N processes of this machine; they share each batch"
    )
    train.set_defaults(run=_train)

    add_tuning_commands(commands)
    add_plan_commands(commands)

    configs = commands.add_parser("configs", help="list the configs that ship with the library, with their files")
    configs.add_argument("kind", nargs="?", choices=KINDS, help="only these; default: all")
    configs.set_defaults(run=_configs)

    evaluate = commands.add_parser(
        "evaluate", help="score a prompt, or several that vote or are mixed, on a split of a task"
    )
    evaluate.add_argument(
        "prompt",
        nargs="+",
        help="a prompt file; with several files, each is scored, and so is their majority vote or mixture",
    )
    evaluate.add_argument("--task", required=True, help="a task's YAML file, or the name of a shipped one")
    evaluate.add_argument(
        "--split", default="validation", choices=("train", "validation", "test"), help="the rows to score"
    )
    evaluate.add_argument("--limit", type=int, help="score only this many rows")
    evaluate.add_argument("--predictions", help="write one JSON line per row to this file")
    add_backbone_option(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser(
        "predict", help="answer texts with a prompt, or several that vote, one JSON line each"
    )
    predict_command.add_arguments(predict)
    add_backbone_option(predict)
    predict.set_defaults(run=predict_command.run)

    mix = commands.add_parser("mix", help="learn weights for several prompts of one task, and write them with these")
    mix_command.add_arguments(mix)
    add_backbone_option(mix)
    mix.set_defaults(run=mix_command.run)

    phrases = commands.add_parser("phrases", help="find a prompt in words: mined from a corpus, or varied by the T5")
    phrases_command.add_arguments(phrases)
    phrases.set_defaults(run=phrases_command.run)

    neighbors = commands.add_parser(
        "neighbors", help="print the pieces of the vocabulary that are nearest to each row of a prompt"
    )
    neighbors.add_argument("prompt", help="a prompt file")
    neighbors.add_argument("--count", type=int, default=5, help="pieces per row")
    add_backbone_option(neighbors)
    neighbors.set_defaults(run=_neighbors)

    export = commands.add_parser(
        "export", help="write one SavedModel for several tasks, or add, remove and list its tasks"
    )
    export_commands.add_arguments(export)
    export.set_defaults(run=export_commands.run)

    serve = commands.add_parser("serve", help="serve an export on this machine, with TF Serving if it is installed")
    serve_commands.add_arguments(serve)
    serve.set_defaults(run=serve_commands.run)

    query = commands.add_parser("query", help="ask a model server over gRPC, one JSON line per text")
    query_command.add_arguments(query)
    query.set_defaults(run=query_command.run)

    answer_files = commands.add_parser(
        "answer-files", help="answer the rows of files with an export, in bulk; continues where it was stopped"
    )
    answer_files_command.add_arguments(answer_files)
    answer_files.set_defaults(run=answer_files_command.run)

    convert = commands.add_parser("convert", help="convert a T5 to a KerasHub preset, or a prompt to another format")
    convert.add_argument(
        "input", help="a Hugging Face, T5X, Mesh TensorFlow or KerasHub T5; or a .safetensors, .npy or PEFT prompt"
    )
    convert.add_argument(
        "output", help="a new directory for a backbone; for a prompt a .safetensors or .npy file, or a folder"
    )
    convert.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="dtype of a T5's stored weights")
    convert.add_argument("--vocabulary", help="a SentencePiece file, for a T5 without one")
    convert.set_defaults(run=_convert)

    add_migration_commands(commands)
    add_interpretability_commands(commands)
    add_experiment_commands(commands)
    add_pretraining_commands(commands)

    demo = commands.add_parser("demo", help="do the complete job on three small tasks: train, export, serve, ask")
    demo.add_argument(
        "--output", default="demo_run", help="the directory to work in; started again, the demo continues"
    )
    demo.add_argument("--backbone", default="mini", help=f"{BACKBONE_HELP}. Default: mini")
    demo.add_argument("--steps", type=int, help="training steps for each task; default: 400")
    demo.set_defaults(run=_demo)
    for command in commands.choices.values():
        command.formatter_class = HelpWithDefaults
        command.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=_VERBOSE_HELP)
    return parser


def _train(arguments: argparse.Namespace) -> int:
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


def _configs(arguments: argparse.Namespace) -> None:
    for kind in KINDS if arguments.kind is None else (arguments.kind,):
        for name, path in shipped_configs(kind).items():
            print(f"{kind}/{name}  {path}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from softprompt_tf.tasks import load_task

    check_files(arguments.prompt)
    task = load_task(find_config(arguments.task, "tasks"))
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
    if arguments.predictions:
        write_predictions(arguments.predictions, scores.predictions)


def _tell_cut_rows(prompt: Any, examples: Any, t5: Any, *, name: str) -> None:
    from softprompt_tf.methods.task_tensors import text_places
    from softprompt_tf.tasks import tell_cut_examples

    inputs, targets = prompt.max_input_tokens or 512, prompt.max_target_tokens or 32
    limits = {"max_input_tokens": inputs, "max_target_tokens": targets}
    tell_cut_examples(examples, t5.tokenize, **limits, name=name, places=text_places(prompt.lengths))


def _neighbors(arguments: argparse.Namespace) -> None:
    check_files([arguments.prompt])
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.methods import load_prompt, nearest_neighbours
    from softprompt_tf.model.task_method import check_fits

    prompt = load_prompt(arguments.prompt)
    rows = prompt.prompt
    t5 = load_t5(arguments.backbone or backbone_of(prompt))
    check_fits(prompt, t5)
    pieces = t5.tokenizer.get_vocabulary()
    ids, cosines = nearest_neighbours(rows, t5.embedding_table[: len(pieces)], count=arguments.count)
    for row, (row_ids, row_cosines) in enumerate(zip(ids, cosines, strict=True)):
        near = "  ".join(f"{pieces[i]} {cosine:.2f}" for i, cosine in zip(row_ids, row_cosines, strict=True))
        print(f"{row:4d}  {near}")


def _convert(arguments: argparse.Namespace) -> None:
    from softprompt_tf.cli.convert import convert

    print(convert(arguments.input, arguments.output, dtype=arguments.dtype, vocabulary=arguments.vocabulary))


def _demo(arguments: argparse.Namespace) -> None:
    from softprompt_tf.demo.demo import run_demo

    run_demo(Path(arguments.output), backbone=arguments.backbone, steps=arguments.steps)


if __name__ == "__main__":
    sys.exit(main())
