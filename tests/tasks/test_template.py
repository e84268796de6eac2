"""Templates: what a row becomes, and what is said of a row or a template that does not fit."""

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Row, Template


def row(**values):
    return Row(values, "data/train.tsv:17")


def test_fields_are_listed_once_in_order_of_use():
    template = Template("{b} {a} {b}", "{label}")

    assert template.input_fields == ("b", "a")
    assert template.target_fields == ("label",)


def test_rendering_keeps_text_as_it_is():
    template = Template("sst2 sentence: {sentence}", "{label}")

    assert template.render_inputs(row(sentence=" a film \n", label="x")) == "sst2 sentence:  a film \n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.5, "0.5"), (True, "True"), (np.int64(7), "7"), ("", ""), ("{a}", "{a}"), ("a\0b", "a\0b")],
)
def test_scalars_go_through_str(value, text):
    assert Template("<{x}>", "{x}").render_inputs(row(x=value)) == f"<{text}>"


def test_doubled_braces_are_literal():
    assert Template("{{{x}}} {{y}}", "{x}").render_inputs(row(x="v")) == "{v} {y}"


@pytest.mark.parametrize(
    ("inputs", "rendered"),
    [
        ("{prompt:3} {x} {prompt:12}{y}", "{prompt:3} a { prompt:3} {prompt:12} b"),
        ("{{prompt:2}} {x}{prompt:1}", "{ prompt:2} a { prompt:3}{prompt:1}"),  # of literal braces, no marker
        ("{u}{v}{prompt:1}", "{ prompt:9}{prompt:1}"),  # nor where two fields meet
        ("{{prompt:2}} {x}", "{prompt:2} a {prompt:3}"),  # nor without markers; nothing changes then
    ],
)
def test_markers_stay_in_the_text_and_what_reads_as_one_gets_a_space(inputs, rendered):
    values = {"x": "a {prompt:3}", "y": " b", "u": "{pro", "v": "mpt:9}"}

    assert Template(inputs, "{x}").render_inputs(row(**values)) == rendered


def test_the_text_around_one_field_has_the_markers():
    template = Template("{{prompt:2}} {x} is{prompt:3}", "{label}")

    assert template.marked_rows == 3
    assert template.affixes() == ("{ prompt:2} ", " is{prompt:3}")
    assert template.around("{prompt:4}") == template.render_inputs(row(x="{prompt:4}"))


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("prompt:4", "{prompt:2} { prompt:4}"),
        ("prompt:4}", "{prompt:2} { prompt:4}}"),
        ("{prompt:4", "{prompt:2} {{ prompt:4}"),
    ],
)
def test_a_text_makes_no_marker_with_the_braces_around_it(text, rendered):
    template = Template("{prompt:2} {{{x}}}", "{label}")

    assert template.around(text) == template.render_inputs(row(x=text)) == rendered


@pytest.mark.parametrize("name", ["#1 String", "label-coarse", "Ä"])
def test_any_plain_column_name_is_a_field(name):
    template = Template(f"{{{name}}}", "{x}")

    assert template.render_inputs(Row({name: "v"}, "row 1")) == "v"


@pytest.mark.parametrize(
    ("inputs", "affixes"),
    [
        ("sst2 sentence: {x} .", ("sst2 sentence: ", " .")),
        ("{x}", ("", "")),
        ("{{{x}}} {{", ("{", "} {")),
        ("{x} {y}", None),
        ("{x} {x}", None),
    ],
)
def test_affixes_are_the_text_around_a_single_field(inputs, affixes):
    assert Template(inputs, "{label}").affixes() == affixes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a.b}", "plain field name, without dots or brackets. Received: `a.b`"),
        ("{a[0]}", r"plain field name, without dots or brackets. Received: `a\[0\]`"),
        ("{a!r}", "takes a field's name and no format. Received: `a`"),
        ("{prompt:0}", "A marker must name a number of rows above 0, .* Received: `{prompt:0}`"),
        ("{prompt:x}", "A marker must name a number of rows above 0"),
        ("{a:>3}", "takes a field's name and no format. Received: `a`"),
        ("{}", "must name a field"),
        ("{a", "must have matching braces"),
        ("a}", "must have matching braces"),
        ("no field", "needs at least one {field}. Received: 'no field'"),
        (None, "must be text. Received: None"),
    ],
)
def test_malformed_templates_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Template(text, "{label}")
    with pytest.raises(ConfigError, match=message):
        Template("{x}", text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "a"}, "data/train.tsv:17: the row has no field `x`. Its fields: text."),
        ({"xx": "a", "y": "b"}, "Its fields: xx, y. Did you mean `xx`[?]$"),
        ({"x\ufeff": "a"}, r"Did you mean 'x\\ufeff'[?] It looks the same, but has other characters than 'x'.$"),
        ({"x;y": "a;b"}, "Its fields: x;y. The columns seem to be separated by `;`: a .csv file needs commas"),
        ({"x": None}, "data/train.tsv:17: field `x` has no value. Received: None."),
        ({"x": float("nan")}, "data/train.tsv:17: field `x` has no value. Received: nan."),
        ({"x": ["a"]}, "data/train.tsv:17: field `x` must be text, a number or a boolean. Received: list."),
        ({"x": np.zeros(2)}, "Received: ndarray"),
    ],
)
def test_rows_that_do_not_fit_name_place_and_field(values, message):
    with pytest.raises(DataError, match=message):
        Template("{x}", "{x}").render_inputs(row(**values))


def test_half_a_surrogate_pair_in_a_row_is_an_error_with_place_and_field():
    row = Row({"text": "bad \ud83d"}, "data.jsonl:3")

    with pytest.raises(DataError, match=r"data\.jsonl:3: field `text` must be valid Unicode"):
        Template("{text}", "{label}").render_inputs(row)
