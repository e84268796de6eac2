"""The report: one file that needs nothing else, whose figures are those of the results."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report_runs import Run

from softprompt_tf.errors import DataError
from softprompt_tf.report import write_report
from softprompt_tf.report.plots import plot
from softprompt_tf.report.score_grid import score_grid
from softprompt_tf.report.sections import duration

pytest.importorskip("matplotlib")
VOID = {"meta", "link", "br", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """Keeps tables as rows of cell texts, attributes, ids, and the tags that stay open."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.open, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


INSPECTION = {
    "prompts": [
        {"name": "a<b", "clusters": [[0, 2], [1]], "shared_words": {"<i>": [0, 1]}, "labels": None},
        {"name": "c", "clusters": [[0], [1]]},
    ],
    "distances": {"names": ["a<b", "c"], "mean_cosine": [[1, 0.25], [0.25, 1]], "matched_cosine": [[1, 0.5], [0.5, 1]]},
}
RUNS = [
    *(
        Run(score, seed, task=task)
        for task, scores in (("sst2", (60, 66, 72)), ("trec", (40, 50, 54)))
        for seed, score in enumerate(scores)
    ),
    Run(80.0, 0, arm="model_tuning"),
    *(Run(50.0 + x, s, "prompt_length", x=x) for x in (1, 20) for s in (1, 2)),
    *(Run(41.0 + s, s, "initialization", x=x) for x in ("random_uniform", "class_labels") for s in (1, 3)),
    Run(33.0, 1, "domain_shift", task="squad", eval_task="mrqa_drop"),
]


@pytest.fixture
def written(tmp_path):
    """Write a report; return its text and the parsed page."""

    def write(results=RUNS, **settings):
        text = write_report(results, tmp_path / "report.html", **settings).read_text(encoding="utf-8")
        return text, Page(text)

    return write


def test_nothing_outside_the_file_is_named(written):
    text, page = written(interpretability=INSPECTION)

    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)'\"]*)", text))
    assert "@import" not in text
    assert not {tag for tag, *_ in page.attributes} & {"script", "iframe", "object", "embed"}
    links = {value for _, name, value in page.attributes if name.startswith("xmlns")}
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) <= links


def test_every_tag_is_closed_and_every_id_is_there_once(written):
    _, page = written(interpretability=INSPECTION)

    ids = [value for _, name, value in page.attributes if name == "id"]
    assert page.open == []
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in page.attributes if name in ("href", "xlink:href") and value[0] == "#"}
    assert targets <= set(ids)


def test_means_deviations_and_seeds_are_those_computed_by_hand(written):
    _, page = written()

    assert page.tables[0] == [
        ["", "sst2", "trec", "mean"],
        # (60 + 66 + 72) / 3; deviations by n - 1: sqrt(72 / 2) and sqrt(104 / 2); means per seed 50, 58, 63.
        ["prompt tuning", "66.00 ± 6.003 seeds", "48.00 ± 7.213 seeds", "57.00 ± 6.563 seeds"],
        ["model tuning", "80.001 seed", "–", "–"],
    ]


def test_every_cell_of_a_large_table_is_its_numpy_mean(written):
    generator = np.random.default_rng(0)
    arms, tasks = ("prompt_tuning", "model_tuning"), [f"t{k}" for k in range(5)]
    scores = generator.uniform(0, 100, (2, 5, 3))
    runs = [
        Run(scores[a, t, s], s, arm=arm, task=task)
        for a, arm in enumerate(arms)
        for t, task in enumerate(tasks)
        for s in range(3)
    ]

    _, page = written(runs)

    table = page.tables[0]  # more tasks than arms: the tasks go down
    assert table[0] == ["", "prompt tuning", "model tuning"]
    for t, task in enumerate(tasks):
        expected = [f"{scores[a, t].mean():.2f} ± {scores[a, t].std(ddof=1):.2f}3 seeds" for a in range(2)]
        assert table[1 + t] == [task, *expected]
    by_seed = scores.mean(axis=1)
    assert table[-1] == ["mean", *(f"{row.mean():.2f} ± {row.std(ddof=1):.2f}3 seeds" for row in by_seed)]


def test_sweeps_are_sorted_and_domain_shift_names_both_tasks(written):
    _, page = written(list(reversed(RUNS)))

    first_columns = [[row[0] for row in table] for table in page.tables]
    assert ["prompt length", "1", "20"] in first_columns
    headers = [table[0] for table in page.tables]
    assert ["", "squad → mrqa_drop"] in headers


def test_a_score_on_other_rows_of_a_task_is_no_seed_of_its_own_rows(written):
    """Scores of one task and seed are both 90 and 10, not 50 ± 56.57 of "2 seeds"."""
    own, other = ({"name": "sst2", "validation": f"{folder}/dev.tsv", "test": None} for folder in ("clean", "noisy"))
    run = {"run": {"tasks": [own]}}
    runs = [Run(score, config={"eval_task": task, **run}) for score, task in ((90.0, own), (10.0, other))]

    _, page = written(runs)

    assert page.tables[0][1:3] == [["sst2", "90.001 seed"], ["sst2 → noisy/dev.tsv", "10.001 seed"]]


def test_texts_are_escaped(written):
    attack = "<script>alert('x')</script>&\"'"

    text, page = written(
        [Run(50.0, task=attack, arm=attack, backbone=attack, metrics={attack: 1.0}, config={attack: attack})],
        title=attack,
        missing={"methods2": attack},
        interpretability=INSPECTION,
    )

    assert "<script" not in text
    assert not any(tag == "script" for tag, *_ in page.attributes)
    assert attack in "".join(page.texts)
    assert page.open == []


def test_plots_have_an_alternative_text_and_their_own_texts(written):
    _, page = written()

    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == 4
    assert "prompt tuning, sst2: 66.00" in labels[0]
    assert "score (0 to 100)" in page.texts


def test_plots_follow_the_page_s_colours(written):
    text, _ = written()

    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert "currentColor" in svg
        assert "var(--series-0)" in svg
        assert "#0102" not in svg


def test_whiskers_are_one_standard_deviation():
    runs = [
        Run(score, seed, "prompt_length", x=x)
        for x, pair in ((1, (40, 50)), (5, (60, 80)))
        for seed, score in enumerate(pair)
    ]

    figure = plot(score_grid("prompt_length", runs))

    (bars,) = figure.axes[0].containers
    ends = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[45 - 50**0.5, 45 + 50**0.5], [70 - 200**0.5, 70 + 200**0.5]])


def test_published_figures_stand_only_beside_the_same_method_and_task(written):
    text, page = written([Run(60.0), Run(61.0, arm="model_tuning"), Run(62.0, task="trec")])

    (table,) = [table for table in page.tables if table[0][-1] == "published"]
    assert table[1:] == [["prompt tuning, sst2", "60.001 seed", "mini", "accuracy 95.07"]]
    assert "T5 1.1 Base" in text
    assert "pretrained_prompts/t5_1_1_lm100k_base/README.md" in text


def test_missing_experiments_are_named_with_their_reason_and_no_others(written):
    _, page = written(missing={"ensembling": "the budget was spent", "mine": "no data"})

    assert (
        "".join(page.texts)
        .partition("Not in this report")[2]
        .startswith("Prompt ensembling: the budget was spentMine: no data")
    )
    assert "Pretraining objective" not in "".join(page.texts)  # nobody asked for it


def test_every_run_and_configuration_is_there(written):
    _, page = written([Run(60.0, 1, config={"rate": 0.25}), Run(62.0, 2, seconds=125.0, config={"rate": 0.5})])

    text = "".join(page.texts)
    assert "2 runs, 2 min 17 s together" in text
    assert '"rate": 0.25' in text
    assert "2 min 5 s" in text


def test_distances_stand_in_the_report_as_numbers_and_a_heat_map(written):
    _, page = written(interpretability=INSPECTION)

    assert [["", "a<b", "c"], ["a<b", "1.000", "0.250"], ["c", "0.250", "1.000"]] in page.tables
    assert any("Heat map" in value for _, name, value in page.attributes if name == "aria-label")


def test_the_page_is_made_for_phones_dark_rooms_and_paper(written):
    text, page = written()

    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_two_reports_of_the_same_results_are_equal(written):
    assert written()[0] == written()[0]


def test_no_results_are_refused(tmp_path):
    with pytest.raises(DataError, match="A report needs at least one result. Received: none."):
        write_report([], tmp_path / "report.html")


@pytest.mark.parametrize("score", [-1.0, 100.5, float("nan")])
def test_a_score_that_is_none_is_refused(score, tmp_path):
    with pytest.raises(DataError, match="`score` must be 0 to 100. Received: "):
        write_report([Run(score)], tmp_path / "report.html")

    assert not (tmp_path / "report.html").exists()


def adapted(steps, score, backbone, **fields):
    return Run(score, experiment="adaptation_steps", x=steps, backbone=backbone, **fields)


def test_a_sweep_over_backbones_is_one_line_of_one_arm(written):
    runs = [adapted(0, 20.0, "span"), adapted(180, 30.0, "lm_180"), adapted(1800, 40.0, "lm_1800")]

    _, page = written(runs)

    assert page.tables[0] == [
        ["adaptation steps", "sst2"],
        ["0", "20.00" + "1 seed"],
        ["180", "30.00" + "1 seed"],
        ["1,800", "40.00" + "1 seed"],
    ]
    assert "Backbone: span, lm_180, lm_1800." in page.texts


def test_a_sweep_over_backbones_in_which_a_value_had_two_keeps_them_apart(written):
    runs = [adapted(0, 20.0, "span"), adapted(180, 30.0, "lm_180"), adapted(180, 40.0, "other")]

    rows = written(runs)[1].tables[0]

    assert [row[:2] for row in rows[1:]] == [
        ["prompt tuning (span)", "0"],
        ["prompt tuning (lm_180)", "180"],
        ["prompt tuning (other)", "180"],
    ]


def test_it_says_which_rows_the_scores_are_of(written):
    _, page = written()

    assert any("the step that did best on them, so these scores are optimistic" in text for text in page.texts)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "–"), (0.0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (119.6, "2 min 0 s"), (7199.9, "2 h 0 min")],
)
def test_times_are_told_in_words(seconds, told):
    assert duration(seconds) == told
