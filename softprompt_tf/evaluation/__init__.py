"""How well a model answers a task: one prompt, or several that vote or are mixed."""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.evaluation.asking import ask as ask
    from softprompt_tf.evaluation.by_label import LabelScore as LabelScore
    from softprompt_tf.evaluation.by_label import label_scores as label_scores
    from softprompt_tf.evaluation.ensemble import PromptEnsemble as PromptEnsemble
    from softprompt_tf.evaluation.ensemble_scores import evaluate_ensemble as evaluate_ensemble
    from softprompt_tf.evaluation.evaluation import evaluate_examples as evaluate_examples
    from softprompt_tf.evaluation.learned_mixture import learn_mixture as learn_mixture
    from softprompt_tf.evaluation.scores import score_answers as score_answers

_HOME = {
    "LabelScore": "by_label",
    "PromptEnsemble": "ensemble",
    "ask": "asking",
    "evaluate_ensemble": "ensemble_scores",
    "evaluate_examples": "evaluation",
    "label_scores": "by_label",
    "learn_mixture": "learned_mixture",
    "score_answers": "scores",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names(__name__, _HOME)
