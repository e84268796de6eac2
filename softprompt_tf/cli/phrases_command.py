"""`softprompt phrases`: find a prompt in words, mined from a corpus or varied by the T5, and write the best as tasks."""

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.json_lines import json_line
from softprompt_tf.settings.shipped_configs import find_config
from softprompt_tf.settings.spelling import check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--task", required=True, help="a task's YAML file, or the name of a shipped one")
    parser.add_argument("--backbone", default="mini", help=f"{BACKBONE_HELP}. Default: mini")
    parser.add_argument(
        "--corpus", action="append", default=[], help="texts to mine, one a line; .gz and .xz too; may be repeated"
    )
    parser.add_argument(
        "--phrases", action="append", default=[], metavar="FILE", help="phrases of yours, one a line; may be repeated"
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="PHRASE",
        help="a phrase whose words the T5 varies; may be repeated",
    )
    parser.add_argument("--max-words", type=int, default=5, help="the most words of a mined phrase")
    parser.add_argument("--candidates", type=int, default=50, help="how many phrases of each source are tried")
    parser.add_argument("--position", choices=("end", "front"), default="end", help="where a phrase goes in the text")
    parser.add_argument(
        "--split", default="validation", choices=("train", "validation"), help="the rows that rank the phrases"
    )
    parser.add_argument("--limit", type=int, help="rank by this many rows")
    parser.add_argument("--keep", type=int, default=5, help="how many phrases are written")
    parser.add_argument(
        "--one-length", action="store_true", help="keep phrases of one number of pieces, which `softprompt mix` can mix"
    )
    parser.add_argument("--output", required=True, help="a new directory, for the phrases as prompt files")


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each phrase that is kept, and write them.

    Raises:
      SoftPromptError: for a mistake in a file, or where there is no candidate.
    """
    target = Path(arguments.output)
    if target.exists():  # before anything is loaded
        raise ConfigError(f"`--output` must be a new directory. Received: {target}, which exists. Choose another name.")
    if not (arguments.corpus or arguments.phrases or arguments.vary):
        raise ConfigError("Phrases come from --corpus, --phrases or --vary. Received: none of them.")
    if arguments.keep < 1:
        raise ConfigError(f"`--keep` must be a positive integer. Received: {arguments.keep}.")
    check_files([*arguments.corpus, *arguments.phrases])
    from softprompt_tf.tasks import load_task

    task = load_task(find_config(arguments.task, "tasks"))
    examples = task.examples(arguments.split, limit=arguments.limit)

    from softprompt_tf.backbones import load_t5
    from softprompt_tf.baselines import best_of_one_length, rank_phrases

    t5 = load_t5(arguments.backbone)
    ranked = rank_phrases(t5, task, _candidates(arguments, t5, task), examples, position=arguments.position)
    kept = best_of_one_length(ranked, count=arguments.keep) if arguments.one_length else ranked[: arguments.keep]
    files = _write(target, ranked, kept)
    for file, each in zip(files, kept, strict=True):
        print(json_line({"file": str(file), **_described(each)}))
    told = {"task": task.name, "split": arguments.split, "rows": len(examples), "tried": len(ranked)}
    print(json.dumps({**told, "without_phrase": _without_phrase(t5, task, examples)}))


def _candidates(arguments: argparse.Namespace, t5: Any, task: Any) -> list[Any]:
    """Return the phrases of all sources; of equal ones, those of the user come first."""
    from softprompt_tf.baselines import Phrase, fill_phrases

    own = [*chain.from_iterable(map(_lines, arguments.phrases)), *arguments.vary]
    found = [Phrase(text, "own") for text in own]
    if arguments.corpus:
        found += _mined(arguments, task)
    for phrase in arguments.vary:
        found += fill_phrases(t5, phrase, count=arguments.candidates)
    return found


def _mined(arguments: argparse.Namespace, task: Any) -> list[Any]:
    from softprompt_tf.baselines import mine_phrases

    answers = task.label_words or [example.target for example in task.examples("train")]
    documents = chain.from_iterable(map(_lines, arguments.corpus))
    mined = mine_phrases(documents, answers, max_words=arguments.max_words, count=arguments.candidates)
    if not mined:
        told = (
            f"No phrase was mined: no sentence has words in front of an answer. Received: {', '.join(arguments.corpus)}, and "
            f"answers such as {', '.join(answers[:3])}. Give texts in which people use these words."
        )
        if not arguments.vary and not arguments.phrases:
            raise DataError(told)
        warnings.warn(told, stacklevel=2)
    return mined


def _lines(path: str) -> Iterator[str]:
    from softprompt_tf.pretraining.corpus import text_lines

    yield from (line.strip() for line in text_lines(path) if line.strip())


def _described(ranked: Any) -> dict[str, Any]:
    phrase = ranked.phrase
    return {"phrase": phrase.text, "source": phrase.source, "count": phrase.count, "log_likelihood": ranked.score}


def _without_phrase(t5: Any, task: Any, examples: Sequence[Any]) -> float:
    """Return the mean log-likelihood of the right answers where the T5 reads the bare text."""
    from softprompt_tf.inference.answering import answerer_without_prompt

    limits = {"max_input_tokens": task.max_input_tokens, "max_target_tokens": task.target_token_limit(t5.tokenize)}
    bare = answerer_without_prompt(t5, **limits, target_format=task.target_format)
    texts, targets = [example.inputs for example in examples], [example.target for example in examples]
    if not task.label_words:
        return sum(bare.score(texts, targets)) / len(texts)
    words = list(task.label_words)
    answers = bare.classify(texts, labels=words)
    logs = [answer.log_probabilities[words.index(target)] for answer, target in zip(answers, targets, strict=True)]
    return sum(logs) / len(logs)


def _write(target: Path, ranked: Sequence[Any], kept: Sequence[Any]) -> list[Path]:
    """Write the kept phrases as prompt files, and all that were tried as `phrases.json`; return the prompt files."""
    from softprompt_tf.files.new_directory import new_directory
    from softprompt_tf.methods import write_prompt

    names = [f"phrase_{number}.safetensors" for number in range(1, len(kept) + 1)]
    with new_directory(target, error_type=ConfigError) as staging:
        for name, each in zip(names, kept, strict=True):
            write_prompt(staging / name, each.prompt)
        content = json.dumps([_described(each) for each in ranked], indent=1, ensure_ascii=False)
        (staging / "phrases.json").write_text(content + "\n", encoding="utf-8")
    return [target / name for name in names]
