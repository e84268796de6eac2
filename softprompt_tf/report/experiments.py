"""What each experiment is called, what it asks and how it is drawn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    """How an experiment is told.

    Args:
      title: of its section.
      question: one sentence, what is compared.
      x_name: what the swept value is; empty where nothing is swept.
      is_averaged: whether a mean over the columns means something.
      is_log_scaled: whether a numeric sweep is drawn on a logarithmic scale.
      is_backbone_swept: whether the swept value says which backbone it was.
    """

    title: str
    question: str
    x_name: str = ""
    is_averaged: bool = True
    is_log_scaled: bool = False
    is_backbone_swept: bool = False


def _of_schedules(steps: int, method: str) -> Experiment:
    return Experiment(f"Schedules of {method}, {steps} steps", "Which optimizer and schedule?", x_name="schedule")


def _of_learning_rates(title: str) -> Experiment:
    return Experiment(title, "Which learning rate?", x_name="learning rate", is_log_scaled=True)


def _of_equal_seconds(task: str, where: str) -> Experiment:
    return Experiment(
        f"A late prompt on {task}, {where}", "What does it learn in the time of 400 steps in front?", x_name="layer"
    )


EXPERIMENTS = {
    "methods": Experiment(
        "Methods",
        "Prompt tuning beside model tuning, prompt design and a random prompt, on one backbone.",
    ),
    "prompt_length": Experiment(
        "Prompt length", "How many vectors does a prompt need?", x_name="prompt length", is_log_scaled=True
    ),
    "late_layers": Experiment(
        "Late prompts", "How late in the encoder may a prompt enter?", x_name="first layer that sees the rows"
    ),
    **{
        f"{key}_{layer}": _of_equal_seconds(task, where)
        for key, task in (("trec", "TREC"), ("sst2", "SST-2"), ("ag_news", "AG News"))
        for layer, where in (("output", "after the encoder"), (3, "before layer 3"), (2, "before layer 2"))
    },
    "more_late_prompts": Experiment("A longer late prompt", "Do more vectors help after the encoder?"),
    "late_prompts_key_values": Experiment(
        "Late prompts with keys and values", "Do keys and values in the decoder help after the encoder?"
    ),
    "precision": Experiment("Precision", "Does bfloat16 cost accuracy?", x_name="precision"),
    "initialization": Experiment(
        "Prompt initialization", "Does it matter from what the prompt starts?", x_name="initialization"
    ),
    "pretraining_objective": Experiment(
        "Pretraining objective",
        "Does it matter what the frozen model was pretrained on?",
        x_name="objective",
        is_backbone_swept=True,
    ),
    "adaptation_steps": Experiment(
        "Steps of LM adaptation",
        "How long must the frozen model be trained on with the language modelling objective?",
        x_name="adaptation steps",
        is_backbone_swept=True,
    ),
    "instruction_tasks": Experiment(
        "Instruction tasks of pretraining",
        "What does each family of the frozen model's instruction tasks bring?",
        x_name="instruction tasks",
        is_backbone_swept=True,
    ),
    "domain_shift": Experiment(
        "Domain shift",
        "Trained on one data set and scored on another that was not trained on.",
        is_averaged=False,
    ),
    "ensembling": Experiment(
        "Prompt ensembling", "Several prompts of one task: their mean, the best of them, and their majority vote."
    ),
    "adam_cosine": _of_learning_rates("Adam, down to 0 by a cosine"),
    "adam_constant": _of_learning_rates("Adam, a steady rate"),
    "adafactor_cosine": _of_learning_rates("Adafactor, down to 0 by a cosine"),
    "adafactor_constant": _of_learning_rates("Adafactor, a steady rate"),
    **{f"schedules_{steps}": _of_schedules(steps, "late prompts") for steps in (50, 100, 200)},
    "adapter_schedules_100": _of_schedules(100, "adapters"),
    "schedules_100_seeds": _of_schedules(100, "late prompts"),
    "adapter_schedules_100_seeds": _of_schedules(100, "adapters"),
}

TITLES = {
    "prompt_tuning": "prompt tuning",
    "model_tuning": "model tuning",
    "multitask_model_tuning": "model tuning, multi-task",
    "prompt_design_zero_shot": "prompt design, zero-shot",
    "prompt_design_few_shot": "prompt design, few-shot",
    "random_prompt": "random prompt",
    "lm_adaptation": "LM adaptation",
}


def experiment_of(name: str) -> Experiment:
    """Return how an experiment is told; one that is not known here gets its own name as the title."""
    return EXPERIMENTS.get(name) or Experiment(words_of(name).capitalize(), "", x_name="value")


def words_of(name: str) -> str:
    """Return a name in words, such as "model tuning" for "model_tuning"."""
    return TITLES.get(name) or name.replace("_", " ")
