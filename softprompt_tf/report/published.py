"""Figures that the method's authors published, each with its source. No other figures belong here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFigure:
    """One published figure.

    Args:
      experiment, arm: what it is to be put beside.
      tasks: the columns of a report that hold the same: a task's names, or "task → evaluated task".
      text: the figure as it was published, with its metric.
      model: the backbone and its size.
      source: where it stands.
    """

    experiment: str
    arm: str
    tasks: tuple[str, ...]
    text: str
    model: str
    source: str


_PAPER = "Lester, Al-Rfou and Constant 2021 (arXiv:2104.08691)"
_BASE = "T5 1.1 Base, LM-adapted for 100,000 steps; prompt of 100 vectors, class-label initialization"
_RELEASED = (
    "google-research/prompt-tuning: prompt_tuning/pretrained_prompts/t5_1_1_lm100k_base/README.md, "
    f"the released prompts of {_PAPER}"
)
_XXL = "T5 1.1 XXL, LM-adapted for 100,000 steps"

_METHODS = (
    PublishedFigure("methods", "prompt_tuning", ("sst2", "glue_sst2"), "accuracy 95.07", _BASE, _RELEASED),
    PublishedFigure("methods", "prompt_tuning", ("mrpc", "glue_mrpc"), "F1 89.7, accuracy 85.3", _BASE, _RELEASED),
    PublishedFigure(
        "methods", "prompt_tuning", ("rte", "glue_rte", "superglue_rte"), "accuracy 68.6", _BASE, _RELEASED
    ),
)


def _shifts(table: str, *rows: tuple[str, str, str]) -> tuple[PublishedFigure, ...]:
    """Return the figures of rows (column, model tuning, prompt tuning)."""
    return tuple(
        PublishedFigure("domain_shift", arm, (column,), text, _XXL, f"{_PAPER}, {table}")
        for column, model, prompt in rows
        for arm, text in (("model_tuning", model), ("prompt_tuning", prompt))
    )


# SQuAD's prompt and model on MRQA's out-of-domain sets, three runs each.
_ANSWERS = _shifts(
    "table 1",
    ("squad", "F1 94.9 ± 0.2", "F1 94.8 ± 0.1"),
    ("squad → mrqa_textbook_qa", "F1 54.3 ± 3.7", "F1 66.8 ± 2.9"),
    ("squad → mrqa_bio_asq", "F1 77.9 ± 0.4", "F1 79.1 ± 0.3"),
    ("squad → mrqa_race", "F1 59.8 ± 0.6", "F1 60.7 ± 0.5"),
    ("squad → mrqa_relation_extraction", "F1 88.4 ± 0.1", "F1 88.8 ± 0.2"),
    ("squad → mrqa_duo_rc", "F1 68.9 ± 0.7", "F1 67.7 ± 1.1"),
    ("squad → mrqa_drop", "F1 68.9 ± 1.7", "F1 67.1 ± 1.9"),
)
_PARAPHRASES = _shifts(
    "table 2",
    ("glue_qqp → glue_mrpc_from_qqp", "accuracy 73.1 ± 0.9, F1 81.2 ± 2.1", "accuracy 76.3 ± 0.1, F1 84.3 ± 0.3"),
    ("glue_mrpc → glue_qqp_from_mrpc", "accuracy 74.9 ± 1.3, F1 70.9 ± 1.2", "accuracy 75.4 ± 0.8, F1 69.7 ± 0.3"),
)

# task, metrics, then the mean, the best and the ensemble of five prompts
_FIVE_PROMPTS = (
    ("superglue_boolq", "accuracy", "91.1", "91.3", "91.7"),
    ("superglue_cb", "accuracy / F1", "99.3 / 99.0", "100.0 / 100.0", "100.0 / 100.0"),
    ("superglue_copa", "accuracy", "98.8", "100.0", "100.0"),
    ("superglue_multirc", "exact match / F1a", "65.7 / 88.7", "66.3 / 89.0", "67.1 / 89.4"),
    ("superglue_record", "exact match / F1", "92.7 / 93.4", "92.9 / 93.5", "93.2 / 93.9"),
    ("superglue_rte", "accuracy", "92.6", "93.5", "93.5"),
    ("superglue_wic", "accuracy", "76.2", "76.6", "77.4"),
    ("superglue_wsc", "accuracy", "95.8", "96.2", "96.2"),
)
_ENSEMBLES = tuple(
    PublishedFigure("ensembling", arm, (task,), f"{metric} {value}", _XXL, f"{_PAPER}, table 3")
    for task, metric, *values in _FIVE_PROMPTS
    for arm, value in zip(("prompt_tuning", "best_of_5", "ensemble_of_5"), values, strict=True)
)

PUBLISHED = (*_METHODS, *_ANSWERS, *_PARAPHRASES, *_ENSEMBLES)


def published_for(experiment: str, arm: str, task: str) -> list[PublishedFigure]:
    """Return the published figures of the same method on the same column: a task, or "task → evaluated task"."""
    return [p for p in PUBLISHED if p.experiment == experiment and p.arm == arm and task in p.tasks]
