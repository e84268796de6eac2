"""The candidates of a search, in the order in which they are worth trying: method, start, length, rate and schedule."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.methods import PromptMethod
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.tuning.methods_tried import ADAPTERS, IA3, LATE, METHODS_TRIED

LENGTH, BOTTLENECK_DIM = 20, 16
LABELS, WORDS, FILE = "class_labels", "sampled_vocabulary", "file:"
ADAFACTOR, ADAM = "adafactor", "adam"
Group = tuple[str, int]


@dataclass(frozen=True)
class Source:
    """A trained prompt that a candidate may start from.

    Args:
      path: of its file.
      length: its rows.
    """

    path: Path
    length: int


@dataclass(frozen=True)
class Rates:
    """What suits a backbone.

    Args:
      first: the rate that is tried first.
      first_schedule: its schedule, "cosine" or "constant".
      other: another rate, with a cosine.
      lowest: a third one, likewise.
      adapters: the rates of adapters, with Adam and a cosine; the first one is tried first.
      ia3: the rate of (IA)^3, likewise.
      ia3_first: whether (IA)^3 is the first candidate, and so the only one where there is time for one; else it is the third.
    """

    first: float
    first_schedule: str
    other: float
    lowest: float
    adapters: tuple[float, float]
    ia3: float
    ia3_first: bool = False


# `mini`: docs/measurements/experiments.md, "Optimizers, rates and schedules"; adapters: docs/measurements/methods.md; (IA)^3, and
# that it comes first: docs/measurements/methods_by_tasks.md and docs/tutorials/tune.md.
BUNDLED_RATES = Rates(
    first=1.0, first_schedule="cosine", other=3.0, lowest=0.3, adapters=(0.01, 0.003), ia3=0.3, ia3_first=True
)
# Every other T5: the paper's rate first (Lester et al. 2021, arXiv:2104.08691). Adapters: the highest rate of Houlsby et al. 2019,
# arXiv:1902.00751, section 3.1, and a tenth of it. (IA)^3: that of Liu et al. 2022, arXiv:2205.05638, section 3.
PAPER_RATES = Rates(first=0.3, first_schedule="constant", other=1.0, lowest=0.1, adapters=(0.003, 0.0003), ia3=0.003)


@dataclass(frozen=True)
class Recipe:
    """One candidate.

    Args:
      number: its place in the order, from 1.
      method: a name of `METHODS`.
      start: where its first values come from: "class_labels", "sampled_vocabulary", "file:PATH", or "" where the method has no
        choice.
      length: P; of adapters the inner width; of (IA)^3 1.
      rate: the highest, per step.
      schedule: within a leg: "cosine", down to 0, or "constant".
      optimizer: "adafactor" or "adam".
    """

    number: int
    method: str
    start: str
    length: int
    rate: float
    schedule: str
    optimizer: str = ADAFACTOR

    @property
    def on_states(self) -> bool:
        """Whether nothing of it is in the encoder, so that it trains on cached states."""
        return self.method in (LATE, ADAPTERS)

    @property
    def in_front(self) -> bool:
        """Whether it is a prompt in front of the input."""
        return not self.on_states and self.method != IA3

    @property
    def group(self) -> Group:
        """What candidates have in common that can train in one batch: the names and the shapes of their tensors."""
        return "front" if self.in_front else self.method, self.length

    def __str__(self) -> str:
        start = {LABELS: "from the labels", WORDS: "from drawn words", "": ""}.get(
            self.start, f"from {Path(self.start.removeprefix(FILE)).name}"
        )
        where = " in the decoder" if self.method == ADAPTERS else ""
        method = self.method if self.method == IA3 else f"{self.method} {self.length}{where}"
        words = (method, start, f"rate {self.rate:g}", self.schedule)
        return ", ".join(word for word in words if word)

    def make(self, task: str, labels: Sequence[str], *, seed: int) -> PromptMethod:
        """Return the method for one task."""
        settings: dict[str, Any] = {"method": self.method}
        if self.method == ADAPTERS:
            settings |= {"bottleneck_dim": self.length, "encoder": False}
        elif self.method != IA3:
            settings["length"] = self.length
        if self.start:
            settings["init"] = self.start
        method: PromptMethod = METHODS[self.method].config(**settings).make([TaskStart(task, tuple(labels))], seed=seed)
        return method

    def to_json(self) -> dict[str, Any]:
        """Return the fields with a file's own name, and the words for people."""
        return {**asdict(self), "name": str(self)}


def batches_of(recipes: Sequence[Recipe], most: Callable[[int], int]) -> list[list[Recipe]]:
    """Return the candidates that train at once, in their order: of one group, and no more than the memory holds.

    Args:
      recipes: the candidates.
      most: length -> how many candidates of it may share a step.
    """
    groups: dict[Group, list[Recipe]] = {}
    for recipe in recipes:
        groups.setdefault(recipe.group, []).append(recipe)
    return [
        members[start : start + most(length)]
        for (_, length), members in groups.items()
        for start in range(0, len(members), most(length))
    ]


def recipes(
    *,
    rates: Rates,
    num_labels: int,
    sources: Sequence[Source] = (),
    is_short: bool = False,
    methods: Sequence[str] = METHODS_TRIED,
) -> tuple[Recipe, ...]:
    """Return all candidates, the most promising first; a search takes as many from the front as its time allows.

    Args:
      rates: of the backbone.
      num_labels: how many labels the task has, which must fit into a prompt that starts from them; 0: it has none.
      sources: trained prompts to start from.
      is_short: whether the time is so short that late prompts, whose steps are cheap, are tried too.
      methods: those that may be tried. Late prompts are tried in any case where some methods were chosen, and they are among
        them.
    """
    length, first = max(LENGTH, num_labels), (rates.first, rates.first_schedule)
    start = LABELS if num_labels else WORDS
    other, lowest = (rates.other, "cosine"), (rates.lowest, "cosine")
    cosine = (rates.first, "cosine")
    from_sources = [("prompt_tuning", f"{FILE}{source.path}", source.length, *first) for source in sources]
    in_decoder = [(ADAPTERS, "", BOTTLENECK_DIM, rate, "cosine") for rate in rates.adapters]
    everywhere = (IA3, "", 1, rates.ia3, "cosine")
    late = [(LATE, start, length, *cosine)] if is_short or set(methods) != set(METHODS_TRIED) else []
    found: list[tuple[str, str, int, float, str]] = [
        *([everywhere] if rates.ia3_first else []),
        ("prompt_tuning", start, length, *first),
        in_decoder[0],
        *([] if rates.ia3_first else [everywhere]),
        *late,
        ("prompt_tuning", start, length, *other),
        in_decoder[1],
        ("superpos", "", length, *cosine),
        *from_sources[:1],
        ("residual", start, length, *cosine),
        *([("prompt_tuning", WORDS, length, *first)] if num_labels else []),
        ("prompt_tuning", start, length + 30, *first),  # other lengths need graphs of their own, so they come late
        *from_sources[1:2],
        ("prompt_tuning", start, length, *lowest),
        ("prompt_tuning", start, length + 80, *first),
        *from_sources[2:],
    ]
    allowed = [values for values in found if values[0] in methods]
    return tuple(Recipe(number, *values, _optimizer_of(values[0])) for number, values in enumerate(allowed, start=1))


def _optimizer_of(method: str) -> str:
    return ADAM if method in (ADAPTERS, IA3) else ADAFACTOR
