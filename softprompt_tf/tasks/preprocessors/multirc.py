"""MultiRC: make one row per answer of a passage's questions, to be judged right or wrong."""

import re
from collections.abc import Iterator
from typing import Any

from softprompt_tf.tasks.preprocessors.fields import (
    Values,
    mapping_field,
    mappings_field,
    number_field,
    text_field,
)
from softprompt_tf.tasks.rows import Row

_BOLD = re.compile("</?b>")


def multirc(row: Row) -> Iterator[Row]:
    """Yield one row per candidate answer of a passage.

    Args:
      row: SuperGLUE's file form, `{idx, passage: {text, questions: [{question, idx, answers: [{text, idx, label}]}]}}`; or
        TFDS's, `{paragraph, question, answer, label, idx: {paragraph, question, answer}}`, which is one row already.

    Returns:
      Rows of `paragraph`, `question`, `answer` (texts, `<br>` a space, `<b>` and `</b>` gone), `label` (as the source has
      it, None where it is hidden), and `paragraph_id`, `question_id`, `answer_id`.

    Raises:
      DataError: if the row is of neither form.

    Source: Khashabi et al. 2018 (MultiRC); google-research/text-to-text-transfer-transformer,
    `t5/data/preprocessors.py:glue`, for the mark-up.
    """
    if "passage" in row.values:
        yield from _answers_of_passage(row)
        return
    ids = mapping_field(row.values, "idx", row.location)
    paragraph, question, answer = (
        _clean_field(row.values, key, row.location) for key in ("paragraph", "question", "answer")
    )
    numbers = tuple(number_field(ids, key, row.location) for key in ("paragraph", "question", "answer"))
    yield Row(_fields(paragraph, question, answer, row.values.get("label"), numbers), row.location)


def _answers_of_passage(row: Row) -> Iterator[Row]:
    place = row.location
    passage = mapping_field(row.values, "passage", place)
    paragraph, paragraph_id = _clean_field(passage, "text", place), number_field(row.values, "idx", place)
    for asked in mappings_field(passage, "questions", place):
        question, question_id = _clean_field(asked, "question", place), number_field(asked, "idx", place)
        for answer in mappings_field(asked, "answers", place):
            text, answer_id = _clean_field(answer, "text", place), number_field(answer, "idx", place)
            ids = (paragraph_id, question_id, answer_id)
            yield Row(
                _fields(paragraph, question, text, answer.get("label"), ids),
                f"{place} (question {question_id}, answer {answer_id})",
            )


def _fields(paragraph: str, question: str, answer: str, label: Any, ids: tuple[int, ...]) -> Values:
    return {
        "paragraph": paragraph,
        "question": question,
        "answer": answer,
        "label": label,
        "paragraph_id": ids[0],
        "question_id": ids[1],
        "answer_id": ids[2],
    }


def _clean_field(values: Values, key: str, place: str) -> str:
    return _BOLD.sub("", text_field(values, key, place).replace("<br>", " "))
