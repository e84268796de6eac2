"""Extractive question answering: make one row per question of a SQuAD-like source, with all right answers."""

from collections.abc import Iterator
from typing import Any

from softprompt_tf.tasks.preprocessors.fields import mappings_field, text_field, texts
from softprompt_tf.tasks.rows import Row


def squad(row: Row) -> Iterator[Row]:
    """Yield one row per question.

    Args:
      row: one of
        an article of a SQuAD v1.1 JSON file, `{title, paragraphs: [{context, qas: [{id, question, answers}]}]}`;
        a paragraph of an MRQA file, `{context, qas: [{qid, question, answers}]}`, whose header line `{header}` gives no row;
        a question, `{id, context, question, answers}`, as TFDS's `squad` and `mrqa/...` have it.
        Answers are texts, objects with a `text`, or an object with a list `text`.

    Returns:
      Rows of `id`, `title` (None where there is none), `context`, `question`, `answers` and `answer` (the first one, None
      without answers).

    Raises:
      DataError: if the row is of none of these forms.

    Source: Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250; Fisch et al. 2019, MRQA, arXiv:1910.09753.
    """
    values, place = row.values, row.location
    if set(values) == {"header"}:
        return
    if "paragraphs" in values:
        for number, paragraph in enumerate(mappings_field(values, "paragraphs", place), start=1):
            yield from squad(Row({"title": values.get("title"), **paragraph}, f"{place}, paragraph {number}"))
        return
    if "qas" in values:
        shared = {"title": values.get("title"), "context": values.get("context")}
        for number, question in enumerate(mappings_field(values, "qas", place), start=1):
            yield _question_row({**shared, **question}, f"{place}, question {number}")
        return
    yield _question_row(dict(values), place)


def _question_row(values: dict[str, Any], place: str) -> Row:
    answers = texts(values.get("answers", ()), "answers", place)
    return Row(
        {
            "id": values.get("id", values.get("qid")),
            "title": values.get("title"),
            "context": text_field(values, "context", place),
            "question": text_field(values, "question", place),
            "answers": answers,
            "answer": answers[0] if answers else None,
        },
        place,
    )
