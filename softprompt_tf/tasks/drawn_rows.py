"""Draw some of a task's rows."""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.tasks.task import Example


def sample(examples: Sequence[Example], count: int, *, seed: int) -> list[Example]:
    """Return drawn rows in their own order, `count` or a few more, as a group's rows are drawn together.

    Args:
      examples: the rows; all are returned where there are no more than `count`.
      count: how many are drawn at least.
      seed: of the draw.
    """
    if count >= len(examples):
        return list(examples)
    groups: dict[object, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(example.group or number, []).append(number)
    members = list(groups.values())
    chosen: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(members)):
        if len(chosen) >= count:
            break
        chosen += members[index]
    return [examples[number] for number in sorted(chosen)]
