"""The names of AdapterHub's tensors in a T5, and the places of this library's tensors that they are of."""

import re

from softprompt_tf.methods.task_tensors import INVERTIBLE_ADAPTER

WRAPPED = "transformer."  # in front of the names of a T5AdapterModel
ENDS = ("down.weight", "down.bias", "up.weight", "up.bias")
# Tensor -> the stack, and which part of a layer the bottleneck is behind.
_PLACES = {
    "encoder_attention_adapter": ("encoder", 0),
    "encoder_feed_forward_adapter": ("encoder", 1),
    "decoder_attention_adapter": ("decoder", 0),
    "cross_attention_adapter": ("decoder", 1),
    "decoder_feed_forward_adapter": ("decoder", 2),
}
_NAMES = {place: name for name, place in _PLACES.items()}
_BOTTLENECK = re.compile(
    r"(encoder|decoder)\.block\.([0-9]{1,2})\.layer\.([0-9])\.adapters\.(.+)\.adapter_(down\.0|up)\.(weight|bias)"
)
_INVERTIBLE = re.compile(r"encoder\.invertible_adapters\.(.+)\.([FG])\.([02])\.(weight|bias)")

Where = tuple[str, int]
"""A task's tensor, and the layer; of the invertible adapter, which of its two bottlenecks."""


def place_of(name: str, adapter: str) -> tuple[Where, str] | None:
    """Return which bottleneck a stored tensor is of, and which of its parts it is; None where it is of none."""
    found = _BOTTLENECK.fullmatch(name)
    if found and found[4] == adapter and (found[1], int(found[3])) in _NAMES:
        return (_NAMES[found[1], int(found[3])], int(found[2])), f"{found[5].removesuffix('.0')}.{found[6]}"
    found = _INVERTIBLE.fullmatch(name)
    if found and found[1] == adapter:
        return (INVERTIBLE_ADAPTER, "FG".index(found[2])), f"{'down' if found[3] == '0' else 'up'}.{found[4]}"
    return None


def stored_name(adapter: str, where: Where, end: str) -> str:
    name, layer = where
    way, _, kind = end.partition(".")
    if name == INVERTIBLE_ADAPTER:
        return f"encoder.invertible_adapters.{adapter}.{'FG'[layer]}.{0 if way == 'down' else 2}.{kind}"
    stack, part = _PLACES[name]
    return f"{stack}.block.{layer}.layer.{part}.adapters.{adapter}.adapter_{'down.0' if way == 'down' else 'up'}.{kind}"
