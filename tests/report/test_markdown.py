"""The Markdown report: tables that show the results' figures, plots that stand beside them as files."""

import dataclasses
import re
from xml.etree import ElementTree

import pytest
from full_disk import fill_disk
from report_runs import Run

from softprompt_tf.errors import DataError
from softprompt_tf.report import write_markdown_report
from softprompt_tf.report.markdown import plain
from softprompt_tf.report.style import LIGHT

pytest.importorskip("matplotlib")

# sst2: mean 66, deviation sqrt(72 / 2) = 6; trec: 48, sqrt(104 / 2) = 7.2; seed by seed 50, 58, 63: 57, sqrt(86 / 2) = 6.6.
METHODS = [
    *(Run(score, seed, task="sst2") for seed, score in enumerate((60, 66, 72))),
    *(Run(score, seed, task="trec") for seed, score in enumerate((40, 50, 54))),
    Run(80.0, 0, task="sst2", arm="model_tuning"),
]


@pytest.fixture
def written(tmp_path):
    """Write a report; return its text."""

    def write(results, **settings):
        return write_markdown_report(results, tmp_path / "report.md", **settings).read_text(encoding="utf-8")

    return write


def test_the_whole_text_of_a_small_report(written):
    lengths = [Run(score, 1, "prompt_length", x=x) for x, score in ((1, 51.0), (1000, 90.0))]

    assert written([*lengths, *METHODS], title="Ours", missing={"ensembling": "no data", "methods": "not so"}) == (
        """\
# Ours

Scores are of dev rows: the validation split, or the test split of a task that has no other. What is trained is scored at \
the step that did best on them, so these scores are optimistic. On rows of another task, nothing was chosen.

## Methods

Prompt tuning beside model tuning, prompt design and a random prompt, on one backbone.

Backbone: mini.

|  | sst2 | trec | mean |
| --- | ---: | ---: | ---: |
| prompt tuning | 66.0 ± 6.0 (3) | 48.0 ± 7.2 (3) | 57.0 ± 6.6 (3) |
| model tuning | 80.0 | – | – |

Scores from 0 to 100; mean ± sample standard deviation over seeds, their number in brackets where it is more than one. \
“mean” is over all tasks, seed by seed; – where no seed ran every task.

![Methods: the table above as a plot, whiskers of one standard deviation](plots/methods.svg)

## Prompt length

How many vectors does a prompt need?

Backbone: mini.

| prompt length | sst2 |
| --- | ---: |
| 1 | 51.0 |
| 1,000 | 90.0 |

Scores from 0 to 100; mean ± sample standard deviation over seeds, their number in brackets where it is more than one.

![Prompt length: the table above as a plot, whiskers of one standard deviation](plots/prompt_length.svg)

## Not in this report

- Prompt ensembling: no data
"""
    )


def test_what_a_backbone_computed_in_is_told_where_it_is_not_float32(written):
    def run(precision, **of):
        return Run(50.0, config={"run": {"training": {"precision": precision}}}, **of)

    results = [
        run("bfloat16"),
        run("float32", seed=2),
        Run(50.0, 3, config={"run": {}}),
        run("float32", backbone="base"),
    ]
    vote = Run(50.0, experiment="voted", config={"runs": [{"training": {"precision": "bfloat16"}}]})

    text = written([*results, vote])

    assert "Backbone: mini in float32 and bfloat16, base." in text
    assert "Backbone: mini in bfloat16." in text


def test_a_plot_is_an_svg_file_in_the_light_page_s_colours(written, tmp_path):
    written(METHODS)

    text = (tmp_path / "plots" / "methods.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    shown = {element.text.strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"sst2", "trec", "prompt tuning", "model tuning", "score (0 to 100)"} <= shown
    assert {LIGHT[0], LIGHT[1], "#1b1b1b", "#ffffff"} <= set(re.findall(r"#[0-9a-f]{6}\b", text))
    assert not re.search("#0102|currentColor|var\\(", text)


def test_a_second_report_replaces_the_first_and_is_equal(written, tmp_path):
    written(METHODS[:2])
    first = written(METHODS), (tmp_path / "plots" / "methods.svg").read_bytes()

    assert (written(METHODS), (tmp_path / "plots" / "methods.svg").read_bytes()) == first
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["methods.svg", "plots", "report.md"]


@pytest.mark.parametrize("num_written", [0, 1])
def test_on_a_full_disk_the_report_before_stays_with_its_plots(num_written, written, tmp_path, monkeypatch):
    def files():
        return {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    written(METHODS)
    before = files()

    fill_disk(monkeypatch, num_written=num_written)
    with pytest.raises(DataError, match="cannot be written. Received: .*No space left"):
        written([dataclasses.replace(run, score=run.score / 2) for run in METHODS])

    assert files() == before


def test_an_experiment_of_any_name_has_a_file_and_a_link_to_it(written, tmp_path):
    text = written([Run(50.0, experiment="../my (own) | experiment")])

    (path,) = (tmp_path / "plots").iterdir()
    assert path.name == "my-own-experiment.svg"
    assert "(plots/my-own-experiment.svg)" in text
    assert "## ../my (own) \\| experiment\n" in text


def test_two_experiments_never_share_a_plot(written, tmp_path):
    text = written([Run(50.0, experiment="a b"), Run(60.0, experiment="a-b"), Run(60.0, experiment="a?b")])

    links = re.findall(r"\((plots/[^)]+)\)", text)
    assert len(set(links)) == 3
    assert all((tmp_path / link).is_file() for link in links)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ag_news", "ag_news"),
        ("_x_ and __init__", r"\_x\_ and \_\_init\_\_"),
        ("a|b *c* [d](e) <f> `g` #h &amp; ~i~ \\", r"a\|b \*c\* \[d\](e) \<f\> \`g\` \#h \&amp; \~i\~ \\"),
        ("two\nlines", "two lines"),
    ],
)
def test_texts_are_shown_as_they_are(text, expected):
    assert plain(text) == expected


def test_no_results_and_no_score_are_refused_and_nothing_is_written(written, tmp_path):
    with pytest.raises(DataError, match="A report needs at least one result. Received: none."):
        written([])
    with pytest.raises(DataError, match="`score` must be 0 to 100. Received: nan"):
        written([Run(float("nan"))])

    assert list(tmp_path.iterdir()) == []
