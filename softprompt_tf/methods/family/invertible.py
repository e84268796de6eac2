"""The invertible adapter at the input embeddings that MAD-X's language adapters have: its variables, and the tensor they become.

Sources: Pfeiffer et al. 2020, arXiv:2005.00052, section 3.3; adapter-hub/adapters:src/adapters/methods/modeling.py
(NICECouplingBlock).
"""

from collections.abc import Mapping
from typing import Any

from softprompt_tf.methods.family.method import Shapes
from softprompt_tf.methods.family.small_networks import folded_units
from softprompt_tf.methods.task_tensors import INVERTIBLE_ADAPTER

_PARTS = (f"{INVERTIBLE_ADAPTER}.first", f"{INVERTIBLE_ADAPTER}.second")  # what changes the first half, and the second


def invertible_shapes(hidden_dim: int) -> Shapes:
    """Return the shapes of the variables of two bottlenecks of inner width H / 4, as in the paper."""
    first, units = hidden_dim // 2, max(hidden_dim // 4, 1)
    shapes: Shapes = {}
    for name, outputs in zip(_PARTS, (first, hidden_dim - first), strict=True):
        shapes[f"{name}.down"] = (units, hidden_dim - outputs)
        shapes[f"{name}.down_bias"] = (units,)
        shapes[f"{name}.up"] = (units, outputs)
        shapes[f"{name}.up_bias"] = (1, outputs)
    return shapes


def folded_invertible(variables: Mapping[str, Any]) -> Any:
    """Return the units of both bottlenecks, [K, R, 2, H + 2], or without K."""
    from keras import ops

    return ops.stack([folded_units(variables, name, axis=-2) for name in _PARTS], axis=-2)
