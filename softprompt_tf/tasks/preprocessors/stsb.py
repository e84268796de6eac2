"""Turn STS-B's scores into the texts that T5 writes."""

import math
from collections.abc import Iterator

from softprompt_tf.errors import DataError
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.template import field_text


def stsb(row: Row) -> Iterator[Row]:
    """Yield the row with `label`, its score rounded to the nearest 0.2 such as "3.2", and `score`, as it was.

    The score is the field `label` (TFDS) or `score` (the archive); a half goes to the even fifth, as in T5's code.

    Raises:
      DataError: if the score is no number from 0 to 5.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.4; google-research/text-to-text-transfer-transformer,
    `t5/data/preprocessors.py:stsb`.
    """
    field = "score" if "score" in row.values else "label"
    text = field_text(row, field)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 5:
        raise DataError(f"{row.location}: field `{field}` must be a score from 0 to 5. Received: {text!r}.")
    yield Row({**row.values, "label": f"{round(value * 5) / 5:.1f}", "score": text}, row.location)
