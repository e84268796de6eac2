"""The frozen model with a prompt that was never trained: what length alone does to the answers."""

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.baselines.no_markers import check_has_no_markers
from softprompt_tf.methods import init, prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.tasks import Task


def random_prompt(t5: FrozenT5, task: Task, *, length: int, seed: int, scale: float = 0.5) -> PromptedT5:
    """Return the frozen model with a drawn prompt in front, ready to be scored on the task.

    Args:
      t5: the frozen T5.
      task: whose label words and limits are used.
      length: P, rows of the prompt.
      seed: of the draw.
      scale: the values are uniform in [-scale, scale), as those of random initialization.

    Raises:
      PromptError: if the length or the seed is out of range.
      ConfigError: if the task's template has markers.
    """
    check_has_no_markers(task, "A drawn prompt, which goes in front,")
    return PromptedT5(
        t5,
        prompt_tuning(length, init.random_uniform(scale), seed=seed),
        labels=task.label_words,
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=task.target_token_limit(t5.tokenize),
        target_format=task.target_format,
    )
