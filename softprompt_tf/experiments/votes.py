"""Score the prompts of finished trials together: a sweep's ensembles."""

import time
from pathlib import Path

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.ensemble_scores import EnsembleScores, evaluate_ensemble
from softprompt_tf.experiments.results import RunResult, score_of
from softprompt_tf.experiments.rows import scored_examples
from softprompt_tf.experiments.trials import Vote
from softprompt_tf.tasks import load_task


def vote_results(t5: FrozenT5, vote: Vote, directory: Path) -> list[RunResult]:
    """Return two results: of the best of a vote's prompts, and of their majority.

    Args:
      t5: that of the trials.
      vote: the trials.
      directory: has a folder for each, with its prompt.
    """
    trial = vote.trials[0]
    paths = [directory / each.name / "prompt.safetensors" for each in vote.trials]
    task, examples = load_task(vote.task), scored_examples(vote.task, trial.settings.rows)
    started = time.monotonic()
    scores = evaluate_ensemble(PromptEnsemble(t5, paths), task, examples)
    seconds = time.monotonic() - started
    return [
        RunResult(
            experiment=vote.experiment,
            arm=arm,
            x=vote.x,
            task=vote.task.name,
            eval_task=vote.task.name,
            seed=trial.seed,
            metrics=metrics,
            score=score_of(metrics),
            step=None,
            seconds=seconds if arm == vote.arms[1] else 0.0,
            backbone=trial.backbone_name,
            config=vote.config(arm),
        )
        for arm, metrics in zip(vote.arms, (_best_member(scores), scores.ensemble.metrics), strict=True)
    ]


def _best_member(scores: EnsembleScores) -> dict[str, float]:
    """Return the metrics of the one prompt whose score is the best; of equal ones the first."""
    return max((member.metrics for member in scores.members), key=score_of)
