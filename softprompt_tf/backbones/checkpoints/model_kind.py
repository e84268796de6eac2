"""Say which models of Hugging Face are T5s here, and why others that look like one are not."""

from collections.abc import Mapping
from typing import Any

MODEL_TYPES = ("t5", "mt5")
# Relatives of T5 -> how they differ, and what can be loaded instead.
_RELATIVES = {
    "umt5": "Each layer of umT5 has relative positions of its own; in a T5 all share the first layer's. Use an mT5.",
    "longt5": "The encoder of a LongT5 attends to near tokens only, or to summaries of blocks. Use a T5 1.1.",
    "switch_transformers": "The feed-forward blocks of a Switch Transformer are divided among experts. Use a T5 1.1.",
}
_HEADLESS = ("T5Model", "MT5Model")
# Ends of transformers' classes -> what they are.
_OTHER_CLASSES = {
    "EncoderModel": "an encoder alone",
    "ForSequenceClassification": "a classifier",
    "ForTokenClassification": "a classifier of tokens",
    "ForQuestionAnswering": "a model that marks answers in a text",
}


def difference_of(model_type: Any) -> str:
    """Return how a relative of T5 differs, as a sentence behind others; "" where nothing is known of it."""
    return f" {_RELATIVES[model_type]}" if isinstance(model_type, str) and model_type in _RELATIVES else ""


def has_no_head(config: Mapping[str, Any]) -> bool:
    """Say whether a config is of the class without an output over the vocabulary."""
    return _class_of(config) in _HEADLESS


def other_class(config: Mapping[str, Any]) -> str:
    """Return that a config is of a class which is no T5 with an output over the vocabulary, as a sentence; "" where it is not."""
    name = _class_of(config)
    kind = next((kind for end, kind in _OTHER_CLASSES.items() if name.endswith(end)), None)
    if kind is None:
        return ""
    return f" Its config says {name}, {kind}. Load the T5ForConditionalGeneration that it was made from."


def _class_of(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""
