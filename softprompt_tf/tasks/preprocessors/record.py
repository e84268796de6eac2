"""ReCoRD: make one row per query of a news passage, with the entities to choose from and all right answers."""

import re
from collections.abc import Iterator

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks.preprocessors.fields import (
    Values,
    mapping_field,
    mappings_field,
    number_field,
    text_field,
    texts,
)
from softprompt_tf.tasks.rows import Row

_HIGHLIGHT_AFTER_STOP = re.compile(r"([.?!\"'])\n@highlight\n")
_HIGHLIGHT = "\n@highlight\n"


def record(row: Row) -> Iterator[Row]:
    """Yield one row per query of a passage.

    Args:
      row: SuperGLUE's file form, `{idx, passage: {text, entities: [{start, end}]}, qas: [{query, idx, answers: [{text}]}]}`,
        `end` being the last character of an entity; or TFDS's, `{passage, query, entities, answers, idx: {passage, query}}`.

    Returns:
      Rows of `passage` (a highlight is a sentence: ". " or, behind a stop, " " stands before it), `query`, `entities` (each
      once, sorted, joined by ", "), `answers` (each once, sorted; () where they are hidden), `answer` (the first of them, or
      None), `passage_id`, `query_id`. For one training row per answer, `one_row_per_answer` comes next.

    Raises:
      DataError: if the row is of neither form.

    Source: Zhang et al. 2018 (ReCoRD), arXiv:1810.12885; google-research/text-to-text-transfer-transformer,
    `t5/data/preprocessors.py:record`; TFDS `super_glue/record`, for the order of entities and answers.
    """
    place = row.location
    if "qas" not in row.values:
        ids = mapping_field(row.values, "idx", place)
        entities = texts(row.values.get("entities"), "entities", place)
        asked = {**row.values, "idx": number_field(ids, "query", place)}
        passage_id = number_field(ids, "passage", place)
        yield _query_row(text_field(row.values, "passage", place), entities, asked, passage_id, place)
        return
    passage = mapping_field(row.values, "passage", place)
    text, passage_id = text_field(passage, "text", place), number_field(row.values, "idx", place)
    entities = tuple(_span(text, entity, place) for entity in mappings_field(passage, "entities", place))
    for query in mappings_field(row.values, "qas", place):
        query_place = f"{place} (query {number_field(query, 'idx', place)})"
        yield _query_row(text, entities, query, passage_id, query_place)


def _query_row(passage: str, entities: tuple[str, ...], query: Values, passage_id: int, place: str) -> Row:
    answers = tuple(sorted(set(texts(query.get("answers", ()), "answers", place))))
    values = {
        "passage": _HIGHLIGHT_AFTER_STOP.sub(r"\1 ", passage).replace(_HIGHLIGHT, ". "),
        "query": text_field(query, "query", place),
        "entities": ", ".join(sorted(set(entities))),
        "answers": answers,
        "answer": answers[0] if answers else None,
        "passage_id": passage_id,
        "query_id": number_field(query, "idx", place),
    }
    return Row(values, place)


def _span(text: str, entity: Values, place: str) -> str:
    start, end = number_field(entity, "start", place), number_field(entity, "end", place)
    if not 0 <= start <= end < len(text):
        raise DataError(
            f"{place}: an entity must lie inside its passage. Received: {start} to {end} of {counted(len(text), 'character')}."
        )
    return text[start : end + 1]
