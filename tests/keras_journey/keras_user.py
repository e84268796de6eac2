"""The rows and the model of the Keras user's journey."""

import softprompt_tf as sp

INPUTS = ["a charming film", "the river", "the plot is thin and the jokes are tired", "it rained", "a"]
TARGETS = ["good", "no", "a bad one", "no", "good"]
LABELS = ("good", "no", "a bad one")


def make_model(t5, **settings):
    method = settings.pop("prompt", sp.prompt_tuning(3, seed=1))
    return sp.PromptedT5(t5, method, **{"labels": LABELS, "max_input_tokens": 40, "max_target_tokens": 12, **settings})
