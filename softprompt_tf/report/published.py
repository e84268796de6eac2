"""Figures that the method's authors published, each with the place where it stands. Nothing else may enter here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFigure:
    """One published figure.

    Args:
      experiment, arm: what it is to be put beside.
      tasks: names under which that task is known here.
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


_MODEL = "T5 1.1 Base, LM-adapted for 100,000 steps; prompt of 100 vectors, class-label initialization"
_SOURCE = (
    "google-research/prompt-tuning: prompt_tuning/pretrained_prompts/t5_1_1_lm100k_base/README.md, "
    "the released prompts of Lester et al. 2021 (arXiv:2104.08691)"
)
PUBLISHED = (
    PublishedFigure("methods", "prompt_tuning", ("sst2", "glue_sst2"), "accuracy 95.07", _MODEL, _SOURCE),
    PublishedFigure("methods", "prompt_tuning", ("mrpc", "glue_mrpc"), "F1 89.7, accuracy 85.3", _MODEL, _SOURCE),
    PublishedFigure("methods", "prompt_tuning", ("rte", "glue_rte", "superglue_rte"), "accuracy 68.6", _MODEL, _SOURCE),
)


def published_for(experiment: str, arm: str, task: str) -> list[PublishedFigure]:
    """Return the published figures of the same method on the same task."""
    return [p for p in PUBLISHED if p.experiment == experiment and p.arm == arm and task in p.tasks]
