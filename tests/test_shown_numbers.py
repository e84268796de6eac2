"""Numbers in messages: counts with their nouns, and bytes."""

import pytest

from softprompt_tf.shown_numbers import bytes_text, counted


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_200, "1,200 rows"), (1.0, "1 row"), (0.5, "0.5 rows")],
)
def test_a_noun_has_an_s_unless_there_is_exactly_one(count, text):
    assert counted(count, "row") == text


@pytest.mark.parametrize(
    ("value", "text"), [(22_270_664_704, "22.3 GB"), (999, "999 B"), (20_480, "20.5 kB"), (999.7e6, "1 GB")]
)
def test_bytes_are_written_with_three_digits(value, text):
    assert bytes_text(value) == text
