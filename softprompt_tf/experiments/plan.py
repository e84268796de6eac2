"""Plan the runs of experiments, each once: two experiments that need the same prompt share it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from softprompt_tf.backbones.backbone_option import check_backbone_path
from softprompt_tf.config import SPLITS, TaskConfig
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.experiments.results import digest
from softprompt_tf.experiments.rows import check_rows, find_task, scored_split, task_identity
from softprompt_tf.experiments.settings import Experiment, RunSettings
from softprompt_tf.experiments.trials import MULTITASK, SEEDLESS, Scoring, Trial, Vote


@dataclass
class Plan:
    """What a sweep runs.

    Args:
      scorings: in the order in which their trials run: every experiment's first seed, then the second ones.
      votes: once all scorings are there.
      left_out: what of which experiment cannot be run here -> why.
      missing: experiment of which nothing can be run -> why.
    """

    scorings: list[Scoring] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def trials(self) -> dict[str, list[Scoring]]:
        """Return the scorings by their trial's name, each trial where it comes first."""
        trials: dict[str, list[Scoring]] = {}
        for scoring in self.scorings:
            trials.setdefault(scoring.trial.name, []).append(scoring)
        return trials

    def tasks(self) -> list[TaskConfig]:
        """Return every task that is trained or scored; some stand there more than once."""
        scored = [scoring.eval_task for scoring in self.scorings]
        return [*scored, *(task for scoring in self.scorings for task in scoring.trial.tasks)]


def make_plan(experiments: Mapping[str, Experiment], *, leave_out: bool = False) -> Plan:
    """Return the runs of experiments.

    Args:
      experiments: as `read_sweep` gives them.
      leave_out: whether to leave out, and say so, what has no data or no backbone here; else that is an error.

    Raises:
      ConfigError, DataError: if a task, a file or a backbone is missing.
    """
    plan = Plan()
    ordered: list[tuple[int, Scoring]] = []
    for name, experiment in experiments.items():
        draft = _Draft(name, experiment, leave_out=leave_out)
        plan.left_out |= draft.left_out
        if draft.is_left_out:
            plan.missing[name] = "; ".join(dict.fromkeys(draft.left_out.values()))
            continue
        ordered += draft.scorings
        plan.votes += draft.votes
    plan.scorings = [scoring for _, scoring in sorted(ordered, key=lambda pair: pair[0])]
    _check_known_apart(plan.tasks())
    return plan


class _Draft:
    """One experiment's runs.

    Args:
      name: of the experiment.
      experiment: what it compares.
      leave_out: as in `make_plan`.
    """

    def __init__(self, name: str, experiment: Experiment, *, leave_out: bool):
        self.scorings: list[tuple[int, Scoring]] = []  # with the number of the seed
        self.votes: list[Vote] = []
        self.left_out: dict[str, str] = {}
        swept = experiment.settings()
        for x, settings in swept:
            try:
                _check_backbone(settings.backbone)
            except ConfigError as error:
                if not leave_out:
                    raise
                self.left_out[f"{name}, {x}" if x is not None else name] = str(error)
                continue
            shelf = _Shelf(settings, self.left_out if leave_out else None, name)
            _check_names(name, experiment.tasks, shelf)
            self.scorings += _scorings(name, experiment, x, settings, shelf)
            self.votes += _votes(name, experiment, x, settings, shelf)
        found = {scoring.x for _, scoring in self.scorings}
        # What is left of a sweep must still compare something.
        self.is_left_out = len(found) < min(2, len(swept))


class _Shelf:
    """Task configs by name; None for those that cannot be used here, of which the reason is kept."""

    def __init__(self, settings: RunSettings, left_out: dict[str, str] | None, experiment: str):
        self._settings, self._left_out, self._experiment = settings, left_out, experiment
        self._known: dict[tuple[str, bool], TaskConfig | None] = {}

    def task(self, name: str, *, is_trained: bool = True) -> TaskConfig | None:
        """Return a task whose rows are there."""
        key = (name, is_trained)
        if key not in self._known:
            self._known[key] = self._found(name, is_trained)
        return self._known[key]

    def _found(self, name: str, is_trained: bool) -> TaskConfig | None:
        try:
            task = find_task(name, self._settings)
            check_rows(task, ("train", "validation") if is_trained else (scored_split(task),))
            return task
        except (ConfigError, DataError) as error:
            if self._left_out is None:
                raise
            self._left_out[f"{self._experiment}, {name}"] = str(error)
            return None

    def tasks(self, names: Iterable[str], *, is_trained: bool = True) -> list[TaskConfig]:
        """Return those whose rows are there."""
        found = (self.task(name, is_trained=is_trained) for name in names)
        return [task for task in found if task is not None]


def _check_names(experiment: str, files: Sequence[str], shelf: _Shelf) -> None:
    """Refuse two tasks of one name: the report would take them for seeds of one."""
    known: dict[str, str] = {}
    for file in files:
        task = shelf.task(file)
        if task is not None and known.setdefault(task.name, file) != file:
            raise ConfigError(
                f"Each task of experiment `{experiment}` must have its own `name`. Received: {task.name!r} in {known[task.name]} "
                f"and in {file}."
            )


def _check_known_apart(tasks: Iterable[TaskConfig]) -> None:
    """Refuse tasks that differ in nothing but where their files lie: the results of one would stand for the other."""
    known: dict[str, TaskConfig] = {}
    for task in tasks:
        other = known.setdefault(digest(task_identity(task)), task)
        moved = next((split for split in SPLITS if getattr(task, split) != getattr(other, split)), None)
        if moved is not None:
            raise ConfigError(
                f"Tasks of one name must have files of other names or folders. Received: {getattr(other, moved)} and "
                f"{getattr(task, moved)} for task {task.name!r}. Give one of the tasks another `name`."
            )


def _scorings(
    name: str, experiment: Experiment, x: float | str | None, settings: RunSettings, shelf: _Shelf
) -> Iterator[tuple[int, Scoring]]:
    """Yield (number of the seed, scoring)."""
    tasks = shelf.tasks(experiment.tasks)
    for number, seed in enumerate(experiment.seeds):
        for arm in experiment.arms:
            if arm in SEEDLESS and number:
                continue
            own_seed = 0 if arm in SEEDLESS else seed
            if arm == MULTITASK:
                trial = Trial(arm, tuple(tasks), settings, own_seed)
                yield from ((number, Scoring(name, arm, x, trial, task, task)) for task in tasks)
                continue
            for file, task in ((file, shelf.task(file)) for file in experiment.tasks):
                if task is None:
                    continue
                trial = Trial(arm, (task,), settings, own_seed)
                others = shelf.tasks(experiment.evaluate_on.get(file, ()), is_trained=False)
                yield from ((number, Scoring(name, arm, x, trial, task, other)) for other in (task, *others))


def _votes(
    name: str, experiment: Experiment, x: float | str | None, settings: RunSettings, shelf: _Shelf
) -> Iterator[Vote]:
    if not experiment.ensemble:
        return
    for task in shelf.tasks(experiment.tasks):
        yield Vote(name, x, tuple(Trial("prompt_tuning", (task,), settings, seed) for seed in experiment.seeds))


def _check_backbone(backbone: str) -> None:
    if "${" in backbone:
        variable = backbone.partition("${")[2].partition("}")[0]
        raise ConfigError(f"The environment variable `{variable}` must be set for `backbone`. Received: {backbone}.")
    check_backbone_path(backbone)
