"""Score what nothing is trained for, to compare trained prompts with: random prompts, and written ones."""

import time

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.baselines import DesignedPrompts, design_prompts, random_prompt
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.evaluation.scores import score_answers
from softprompt_tf.experiments.results import RunResult
from softprompt_tf.experiments.rows import scored_examples, training_data
from softprompt_tf.experiments.trials import Scoring
from softprompt_tf.tasks import load_task


def untrained_result(t5: FrozenT5, scoring: Scoring) -> RunResult:
    """Score what nothing is trained for: a random prompt, or a written one with or without examples in it."""
    trial = scoring.trial
    started = time.monotonic()
    task, settings = load_task(scoring.eval_task), trial.settings
    examples = scored_examples(scoring.eval_task, settings.rows)
    if trial.arm == "random_prompt":
        model = random_prompt(t5, task, length=trial.random_length, seed=trial.seed)
        scores = evaluate_examples(model, task, examples)
    else:
        scores = score_answers(task, examples, _design(t5, scoring).ask(task, examples))
    return scoring.result(scores.metrics, None, time.monotonic() - started)


def _design(t5: FrozenT5, scoring: Scoring) -> DesignedPrompts:
    trial = scoring.trial
    task, settings = load_task(scoring.eval_task), trial.config["prompt_design"]
    return design_prompts(
        t5,
        task,
        training_data(scoring.task, trial.settings.rows).train if settings["shots"] else (),
        shots=settings["shots"],
        seed=trial.seed,
        instruction=settings["instructions"].get(task.name),
        max_input_tokens=settings["max_input_tokens"],
    )
