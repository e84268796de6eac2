"""Single training steps of a prompt, as benchmarks time them."""

from collections.abc import Callable
from typing import Any

import softprompt_tf as sp


def compiled(t5: sp.FrozenT5, method: Any, rate: Any) -> sp.PromptedT5:
    """Return a model that trains with Adafactor at a rate or a schedule."""
    model = sp.PromptedT5(t5, method, max_input_tokens=512, max_target_tokens=16)
    model.compile(sp.Adafactor(rate), sp.TargetCrossEntropy(z_loss=1e-4))
    return model


def step_of(model: sp.PromptedT5, batches: Any) -> Callable[[], float]:
    """Return what takes the next step and returns its loss."""
    model.make_train_function()
    iterator = iter(batches.dataset(first_step=0))
    return lambda: float(model.train_function(iterator)["loss"])
