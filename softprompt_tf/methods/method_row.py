"""What the registry keeps of a method. A package with methods of its own imports this, and never the registry."""

from collections.abc import Callable
from typing import NamedTuple

from softprompt_tf.methods.family.method import PromptMethod
from softprompt_tf.methods.family.method_config import MethodConfig


class MethodRow(NamedTuple):
    """A method: its constructor, and its section of a config.

    Attributes:
      make: returns the method; takes the names of its `settings`, `task_ids` and `seed`.
      config: the typed settings of `prompt:` in a config, with the method's name as the default of `method`.
    """

    make: Callable[..., PromptMethod]
    config: type[MethodConfig]
