"""The record of a search, OUTPUT/tune.json: all that was tried, and by what a killed search goes on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.settings.setting_changes import setting_changes

FILE = "tune.json"
PREDICTIONS = "test_predictions.jsonl"  # the answers to the test rows
FORMAT = "softprompt-tf-tune/1"
LAST = "last"  # the leg of the best candidate alone


@dataclass(frozen=True)
class Tried:
    """One look at a candidate.

    Args:
      candidate: its number.
      rung: "1", "2", ... or "last".
      steps: that it has taken, those of earlier rungs included.
      score: the mean of its metrics on the dev sample; None where its training failed.
      log_probability: the mean of the right labels', in nats; None for a task without labels.
      seconds: what this part of its training took, scoring included.
      one_answer: the answer that it gives to every row; None where there are several.
      failure: why it was given up.
      part: of the last leg, from 0.
    """

    candidate: int
    rung: str
    steps: int
    score: float | None
    log_probability: float | None
    seconds: float
    one_answer: str | None = None
    failure: str | None = None
    part: int = 0


@dataclass(frozen=True)
class Part:
    """A part of a leg that was planned: some candidates that train at once.

    Args:
      candidates: their numbers.
      done: the steps of each when the leg began.
      after: the steps of the leg before this part.
      steps: of the part.
      progress: how much of the leg is done before and after it.
      warm_up_steps: of the leg.
      begun_s: when it was planned, in spent seconds.
      until_s: when it ends at the latest, likewise.
    """

    candidates: tuple[int, ...]
    done: tuple[int, ...]
    after: int
    steps: int
    progress: tuple[float, float]
    warm_up_steps: int
    begun_s: float
    until_s: float


@dataclass
class Record:
    """The state of a search.

    Args:
      path: of the file.
      identity: what may not change.
      spent_s: seconds of all processes.
      minutes: the budget.
      finished: whether it is done.
      measured: speeds, or {}.
      ladder: the plan, or {}.
      candidates: as JSON.
      tried: all looks at candidates, in order.
      parts: key -> a part that was planned.
      best: which of `tried` the prompt file is of, or None.
      result: the figures at the end.
    """

    path: Path
    identity: dict[str, Any]
    minutes: float
    spent_s: float = 0.0
    finished: bool = False
    measured: dict[str, float] = field(default_factory=dict)
    ladder: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    best: int | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def write(self) -> None:
        """Write the file, whole."""
        values = {"format": FORMAT, **{key: value for key, value in asdict(self).items() if key != "path"}}
        content = json.dumps(values, indent=2) + "\n"
        write_atomically(self.path, content.encode("utf-8"), error_type=TrainingError)

    def tries_of(self, rung: str) -> dict[int, Tried]:
        """Return candidate -> its newest look in a rung."""
        return {each.candidate: each for each in self.tried if each.rung == rung}

    def steps_of(self, candidate: int) -> int:
        """Return how many steps a candidate had taken when it was last looked at."""
        return max((each.steps for each in self.tried if each.candidate == candidate), default=0)

    def has_done(self, candidate: int, part: int) -> bool:
        """Return whether a candidate has been looked at after a part of its last leg."""
        return any((each.rung, each.candidate, each.part) == (LAST, candidate, part) for each in self.tried)

    def last_key(self, candidate: int, part: int) -> str:
        """Return the key in `parts` of a part of a candidate's last leg."""
        older = f"{LAST}/{part}"  # of version 0.2.0, which did not tell candidates apart
        is_older = older in self.parts and self.parts[older].candidates == (candidate,)
        return older if is_older else f"{LAST}/{candidate}/{part}"

    def add(self, tries: Iterable[Tried]) -> None:
        self.tried.extend(tries)


def read_record(output: Path) -> Record | None:
    """Return the record of a directory; None where there is none.

    Raises:
      TrainingError: if it cannot be read.
    """
    path = output / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        values["tried"] = [Tried(**each) for each in values["tried"]]
        values["parts"] = {key: _part(part) for key, part in values["parts"].items()}
        return Record(path, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrainingError(
            f"{path} must hold the record of a search. Received: {error!r}. Choose another output directory, or remove this one."
        ) from error


def check_identity(record: Record, identity: Mapping[str, Any]) -> None:
    """Refuse to go on with another task, data, backbone or seed than the search began with.

    Raises:
      TrainingError: names each that differs, with both values.
    """
    changes = setting_changes(record.identity, json.loads(json.dumps(identity)))
    if changes:
        raise TrainingError(
            f"A search goes on with what it began with. Received: {'; '.join(changes)} in {record.path.parent}. Take back the "
            "change, or choose another output directory to start a new search."
        )


def _part(values: dict[str, Any]) -> Part:
    return Part(**{**values, **{name: tuple(values[name]) for name in ("candidates", "done", "progress")}})
