"""`softprompt inspect` and `softprompt similar`: print and write what prompts say, and which ones are alike."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt_tf.backbones.backbone_option import add_backbone_option, backbone_of
from softprompt_tf.errors import BackboneError, BackboneMismatchError, ConfigError, DataError
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.settings.spelling import check_files
from softprompt_tf.shown_numbers import counted

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5
    from softprompt_tf.interpretability.inspection import Inspection
    from softprompt_tf.methods import TaskPrompt


def add_commands(commands: Any) -> None:
    """Add both commands to the sub-parsers of `softprompt`."""
    similar = commands.add_parser(
        "similar", help="rank trained prompts by how similar they are to yours, to choose one to start from"
    )
    similar.add_argument("prompt", help="a prompt file, such as one after a short training on your task")
    similar.add_argument("source", nargs="+", help="prompt files, or directories of them")
    similar.add_argument(
        "--measure",
        choices=("tokens", "means"),
        default="tokens",
        help="tokens: the mean cosine over all pairs of vectors; means: the cosine of the mean vectors; default: tokens",
    )
    similar.add_argument("--count", type=int, help="print only the first N; default: all")
    similar.set_defaults(run=_similar)

    inspect = commands.add_parser(
        "inspect", help="show what prompts say: nearest pieces, clusters, class labels, distances"
    )
    inspect.add_argument("prompt", nargs="+", help="a prompt file; for several files, distances are printed too")
    add_backbone_option(inspect)
    inspect.add_argument(
        "--initial",
        action="append",
        metavar="FILE",
        help="the prompt before training, once per prompt and in their order. "
        "Default: made again from the run's settings in the prompt file",
    )
    inspect.add_argument("--count", type=int, default=5, help="pieces per vector")
    inspect.add_argument("--min-cosine", type=float, default=0.5, help="lowest mean cosine within a cluster")
    inspect.add_argument("--output", type=Path, help="write inspection.json, heat maps and projector files here")
    inspect.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    check_files([*arguments.prompt, *(arguments.initial or ())])
    from softprompt_tf.interpretability.inspection import inspect_prompts
    from softprompt_tf.interpretability.tables import lines_of
    from softprompt_tf.methods import load_prompt

    if arguments.initial and len(arguments.initial) != len(arguments.prompt):
        raise ConfigError(
            "`--initial` must be given once per prompt. "
            f"Received: {len(arguments.initial)} for {counted(len(arguments.prompt), 'prompt')}."
        )
    prompts = [load_prompt(path) for path in arguments.prompt]
    named = list(zip(_names(arguments.prompt, prompts), prompts, strict=True))
    initial = [load_prompt(path).prompt for path in arguments.initial] if arguments.initial else None
    t5, why_none = _backbone(arguments, prompts)
    inspection = inspect_prompts(named, t5=t5, initial=initial, count=arguments.count, min_cosine=arguments.min_cosine)
    for line in lines_of(inspection):
        print(line)
    if t5 is None:
        print(f"\nNearest pieces, shared words and class labels are left out. {why_none}")
    if arguments.output:
        for path in _write(arguments.output, inspection, named, t5):
            print(path)


def _similar(arguments: argparse.Namespace) -> None:
    check_files([arguments.prompt, *arguments.source])
    if arguments.count is not None and arguments.count < 1:
        raise ConfigError(f"`--count` must be a whole number above 0. Received: {arguments.count}.")
    from softprompt_tf.interpretability.sources import read_sources, similar_sources
    from softprompt_tf.methods import load_prompt

    prompt, own = load_prompt(arguments.prompt), Path(arguments.prompt).resolve()
    sources = {path: each for path, each in read_sources(arguments.source).items() if path.resolve() != own}
    if not sources:
        raise DataError(f"There must be another prompt to compare with. Received: {arguments.prompt} alone.")
    ranked = similar_sources(prompt, sources, measure=arguments.measure)
    for each in ranked.fitting[: arguments.count]:
        print(f"{each.cosine:7.4f}  {each.path}" + (f"  {each.task_id}" if each.task_id else ""))
    for path, reason in ranked.others.items():
        print(f"softprompt: {path} is left out. {reason}", file=sys.stderr)


def _backbone(arguments: argparse.Namespace, prompts: "list[TaskPrompt]") -> "tuple[FrozenT5 | None, str]":
    """Return the T5 that `--backbone` or the prompts name; or None and the reason, where what they name is not here.

    Raises:
      SoftPromptError: if `--backbone` is wrong, or `--initial`, which needs a vocabulary, is given and there is none.
    """
    from softprompt_tf import backbones
    from softprompt_tf.model.task_method import check_fits

    if arguments.backbone:
        return backbones.load_t5(arguments.backbone), ""
    try:
        t5 = backbones.load_t5(_one_name(prompts))
        for prompt in prompts:
            check_fits(prompt, t5)
    except (ConfigError, BackboneError, BackboneMismatchError) as error:
        if arguments.initial:
            raise
        hint = "" if "--backbone" in str(error) else " Pass the right one's directory: --backbone DIRECTORY."
        return None, f"{error}{hint}"
    return t5, ""


def _one_name(prompts: "list[TaskPrompt]") -> str:
    """Return the backbone that all prompts are for."""
    names = sorted({backbone_of(prompt) for prompt in prompts})
    if len(names) > 1:
        raise ConfigError(
            f"The prompts must be of one backbone. Received: prompts for {', '.join(names)}. Inspect those of one together, or "
            "pass --backbone DIRECTORY."
        )
    return names[0]


def _names(paths: list[str], prompts: "list[TaskPrompt]") -> list[str]:
    """Return the tasks' names where each is there once, else the files'; what is still alike gets its path."""
    stems = [Path(path).stem for path in paths]
    below = [f"{Path(path).absolute().parent.name}/{stem}" for path, stem in zip(paths, stems, strict=True)]
    for names in ([prompt.task_id for prompt in prompts], stems, below, paths):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"{path}#{index}" for index, path in enumerate(paths)]


def _write(
    output: Path, inspection: "Inspection", named: "list[tuple[str, TaskPrompt]]", t5: "FrozenT5 | None"
) -> list[Path]:
    from softprompt_tf.files.atomic_file import write_atomically
    from softprompt_tf.interpretability.heat_map import write_heat_map
    from softprompt_tf.interpretability.projector import write_projector

    output = local_target(output, error_type=DataError)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output} cannot be made: {error.strerror}.") from error
    content = json.dumps(inspection.to_json(), indent=2, ensure_ascii=False).encode()
    written = [write_atomically(output / "inspection.json", content, error_type=DataError)]
    names = [prompt.name for prompt in inspection.prompts]
    if len(names) > 1:
        tables = {"mean_cosine": inspection.mean_cosine, "matched_cosine": inspection.matched_cosine}
        for name, values in tables.items():
            title = "mean vectors" if name == "mean_cosine" else "best-matching pairs of vectors"
            written += [
                write_heat_map(output / f"{name}.{ending}", names, values, title=title) for ending in ("png", "svg")
            ]
    if t5 is not None:
        ids = [prompt.ids for prompt in inspection.prompts if prompt.ids is not None]
        vectors = [(name, prompt.prompt) for name, prompt in named]
        pieces = t5.tokenizer.get_vocabulary()
        written.append(
            write_projector(output / "projector", vectors, ids, embeddings=t5.embedding_table, pieces=pieces)
        )
    return written
