"""`sp.tune`: search for a good prompt from Python, for a task file or for texts and labels in memory."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.backbones.backbone_option import check_backbone_path
from softprompt_tf.errors import BackboneError, ConfigError, DataError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Task, load_task
from softprompt_tf.texts.text_rows import as_text, listed
from softprompt_tf.tuning.methods_tried import METHODS_TRIED, check_methods
from softprompt_tf.tuning.record import Record, Tried
from softprompt_tf.tuning.run_search import SearchSettings, run_search
from softprompt_tf.tuning.summary import summary_lines, table_lines

Pairs = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Args:
      prompt: the prompt file.
      dev: metrics on the dev rows, which chose the prompt.
      test: metrics on the test rows, which chose nothing.
      majority: metrics of one answer to all test rows; {} for a task without labels.
      one_answer: the answer that the prompt gives to every test row; None where there are several.
      tried: every look at a candidate.
      seconds: what the search took.
      output_dir: the directory of the search.
      record: all of it, as in tune.json.
    """

    prompt: Path
    dev: dict[str, float]
    test: dict[str, float]
    majority: dict[str, float]
    one_answer: str | None
    tried: tuple[Tried, ...]
    seconds: float
    output_dir: Path
    record: Record

    @property
    def table(self) -> str:
        """What was tried, as a table for people."""
        return "\n".join(table_lines(self.record))

    def __str__(self) -> str:
        return "\n".join(
            summary_lines(self.record, self.output_dir, task=self.prompt.stem, backbone=_backbone_of(self.record))
        )


def tune(
    t5: FrozenT5 | str | Path,
    task: Any,
    labels: Sequence[str] | None = None,
    *,
    dev: Pairs | None = None,
    test: Pairs | None = None,
    minutes: float = 10.0,
    seed: int = 1,
    output: str | Path | None = None,
    name: str | None = None,
    sources: str | Path | None = None,
    methods: Sequence[str] = METHODS_TRIED,
    precision: str | None = None,
) -> TuneResult:
    """Search for a good prompt within a time: start, length, rate, schedule and method are chosen on dev rows.

    Stopped and started again with the same arguments, it continues with the time that is left.

    Args:
      t5: the frozen T5 from `load_t5`, or what it is loaded from, such as "mini".
      task: the path of a task's YAML file, or a sequence of texts.
      labels: with texts, the label word of each.
      dev: with texts, (texts, labels) that choose the prompt. Default None: a fifth of the texts is held out for it.
      test: with texts, (texts, labels) whose score is reported. Default None: rows are held out for it.
      minutes: how long the search takes, with loading and writing.
      seed: decides the first values, the order of the rows, and all draws.
      output: the directory. Default "tuned/NAME".
      name: with texts, the name of the task. Default "task".
      sources: a directory of trained prompts that candidates may start from. Default None: those that ship with the backbone.
      methods: those that may be tried. Default: all that a search knows, "prompt_tuning", "adapters" (in the decoder alone),
        "ia3", "superpos", "residual" and "late_prompts".
      precision: of the T5: "float32", "bfloat16", or "auto", which measures on the first batches whether bfloat16 is faster here
        and agrees with float32. Default None: that of `t5`; float32 for one that is loaded by its name.

    Raises:
      ConfigError: for a setting that is out of range, or a time that is too short for anything.
      DataError: for texts and labels that do not fit.
      BackboneError: for a backbone that cannot be loaded or used.
      TrainingError: if the directory holds another search, or files where this one would write.

    Source: Jamieson and Talwalkar 2016, arXiv:1502.07943 (successive halving).
    """
    started = time.monotonic()
    wanted = _task_of(task, labels, dev=dev, test=test, name=name)
    if not isinstance(t5, FrozenT5 | str | Path):
        raise BackboneError(f"`t5` must be a T5 from load_t5, or its name. Received: {type(t5).__name__!r}.")
    backbone = t5.name if isinstance(t5, FrozenT5) else str(t5)
    check_methods(methods)
    settings = SearchSettings(
        backbone=backbone,
        output=Path("tuned", wanted.name) if output is None else Path(output),
        minutes=minutes,
        seed=seed,
        sources=None if sources is None else Path(sources),
        methods=tuple(methods),
        precision=_precision(t5, precision),
    )
    if not isinstance(t5, FrozenT5):
        check_backbone_path(backbone)
    record = run_search(
        wanted,
        lambda dtype: t5 if isinstance(t5, FrozenT5) else load_t5(backbone, dtype=dtype),
        settings,
        started=started,
    )
    return result_of(record, settings.output)


def result_of(record: Record, output: Path) -> TuneResult:
    """Return the result of a finished search."""
    result = record.result
    return TuneResult(
        prompt=output / result["prompt"],
        dev=result["dev"]["metrics"],
        test=result["test"]["metrics"],
        majority=result["test"].get("majority", {}),
        one_answer=result["test"]["one_answer"],
        tried=tuple(record.tried),
        seconds=record.spent_s,
        output_dir=output,
        record=record,
    )


def _precision(t5: FrozenT5 | str | Path, asked: str | None) -> str:
    own = t5.compute_dtype if isinstance(t5, FrozenT5) else "float32"
    if isinstance(t5, FrozenT5) and asked not in (None, own):
        raise ConfigError(
            f"`precision` is of a T5 that a search loads. Received: precision={asked!r} with a T5 that computes in {own}. "
            "Give the name of the T5, or leave `precision` out."
        )
    return own if asked is None else asked


def _backbone_of(record: Record) -> str:
    return str(record.identity["backbone"]["name"])


def _task_of(task: Any, labels: Any, *, dev: Any, test: Any, name: str | None) -> Task:
    if isinstance(task, str | Path | Task | Mapping):
        given = {"labels": labels, "dev": dev, "test": test, "name": name}
        extra = [key for key, value in given.items() if value is not None]
        if extra:
            own = "A task has its own name" if extra[0] == "name" else "A task file names its own rows"
            raise ConfigError(
                f"{own}. Received: `{extra[0]}` too. Leave it out, or give texts instead of {task!r:.80}."
            )
        return task if isinstance(task, Task) else load_task(task)
    if labels is None:
        raise DataError("Texts need `labels`, the label word of each. Received: none.")
    train = _rows((task, labels), "train")
    words = sorted({row["label"] for row in train})
    if len(words) < 2:
        raise DataError(f"`labels` must have two different words or more. Received: {', '.join(map(repr, words))}.")
    return Task(
        "task" if name is None else name,
        "{text}",
        labels={word: word for word in words},
        train=train,
        validation=_known(dev, "dev", words),
        test=_known(test, "test", words),
    )


def _known(pairs: Any, name: str, words: Sequence[str]) -> list[dict[str, str]] | None:
    """Return rows whose labels are those of the training rows; None where there are no rows."""
    if pairs is None:
        return None
    rows = _rows(pairs, name)
    unknown = next((row["label"] for row in rows if row["label"] not in words), None)
    if unknown is not None:
        raise DataError(
            f"The labels of {name} must be among those that are trained on. Received: {unknown!r}. Known: "
            f"{', '.join(map(repr, words))}."
        )
    return rows


def _rows(pairs: Any, name: str) -> list[dict[str, str]]:
    """Return rows of texts and labels; lists, tuples, arrays and pandas Series are such."""
    if not isinstance(pairs, tuple | list) or len(pairs) != 2:
        raise DataError(f"`{name}` must be a pair, (texts, labels). Received: {type(pairs).__name__}.")
    texts, labels = ([as_text(value) for value in listed(values, name)] for values in pairs)
    if len(texts) != len(labels) or not texts:
        raise DataError(
            f"The texts and labels of {name} must be equally many, one or more. Received: "
            f"{counted(len(texts), 'text')}, {counted(len(labels), 'label')}."
        )
    return [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
