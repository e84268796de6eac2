"""The precision of a search: the one that was asked for, that of a search that goes on, or the better one on the first batches."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.precision_choice import AUTO, CHOICE_FILE, PRECISIONS, Measured, kept_or_chosen
from softprompt_tf.runs.precision_measurement import measure
from softprompt_tf.training import Adafactor, TargetCrossEntropy
from softprompt_tf.tuning.recipes import PAPER_RATES, recipes
from softprompt_tf.tuning.record import read_record
from softprompt_tf.tuning.rows import TuneRows
from softprompt_tf.tuning.settings import SearchSettings
from softprompt_tf.tuning.trainer import Trainer

KEY = "precision"  # in a record's identity

Load = Callable[[str], FrozenT5]


def precision_of(
    settings: SearchSettings, measured: Callable[[], list[Measured]], *, task: Mapping[str, Any] | None = None
) -> str:
    """Return "float32" or "bfloat16": what was asked for, or for "auto" what the search has begun with or chooses now.

    What a start chose that never began a search counts for the same settings alone: it may have had another backbone.

    Args:
      settings: of the search.
      measured: measures float32 and bfloat16.
      task: the settings of its task. Default: none are told apart.

    Raises:
      TrainingError: if the record of the search, or its choice, cannot be read or written.
    """
    if settings.precision != AUTO:
        return settings.precision
    record = read_record(settings.output)
    if record is not None:
        return str(record.identity.get(KEY, "float32"))
    made_for = json.dumps([settings.backbone, sorted(settings.methods), task], sort_keys=True, default=str)
    digest = hashlib.sha256(made_for.encode()).hexdigest()[:16]
    return kept_or_chosen(settings.output / CHOICE_FILE, measured, settings=digest).precision


def measured_search(rows: TuneRows, load: Load, settings: SearchSettings) -> list[Measured]:
    """Return what float32 and bfloat16 do on the first batches of a search's first candidate; one T5 is in memory at a time."""
    task, seed = rows.task, settings.seed
    first = recipes(rates=PAPER_RATES, num_labels=len(task.label_words), methods=settings.methods)[0]

    def of(precision: str) -> Measured:
        t5 = load(precision)
        method = first.make(task.name, task.label_words, seed=seed)
        model = PromptedT5(t5, method, target_format=task.target_format)
        model.compile(optimizer=Adafactor(first.rate), loss=TargetCrossEntropy())
        return measure(model, Trainer(t5, rows, seed=seed, directory=settings.output).stream.dataset(first_step=0))

    return [of(precision) for precision in PRECISIONS]
