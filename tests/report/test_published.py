"""The published figures: each with its source, and in agreement with what the paper says of them elsewhere."""

import re
import statistics

import pytest

from softprompt_tf.report.published import PUBLISHED, published_for


def numbers(figure):
    return [float(number) for number in re.findall(r"\d+\.\d+", figure.text)]


@pytest.mark.parametrize(("arm", "mean"), [("prompt_tuning", 90.5), ("best_of_5", 91.0), ("ensemble_of_5", 91.3)])
def test_the_ensembles_tasks_have_the_mean_that_the_paper_gives(arm, mean):
    """SuperGLUE's score is the mean over tasks, each the mean of its metrics; the paper rounds after the mean, we before."""
    tasks = [figure for figure in PUBLISHED if figure.experiment == "ensembling" and figure.arm == arm]

    assert len(tasks) == 8
    assert statistics.fmean(statistics.fmean(numbers(task)) for task in tasks) == pytest.approx(mean, abs=0.07)


@pytest.mark.parametrize(
    ("column", "gains"),
    [
        ("squad", [-0.1]),
        ("squad → mrqa_textbook_qa", [12.5]),
        ("squad → mrqa_bio_asq", [1.2]),
        ("squad → mrqa_drop", [-1.8]),
        ("glue_qqp → glue_mrpc_from_qqp", [3.2, 3.1]),
        ("glue_mrpc → glue_qqp_from_mrpc", [0.5, -1.2]),
    ],
)
def test_prompts_gain_on_other_domains_what_the_paper_says(column, gains):
    (prompt,), (model,) = (published_for("domain_shift", arm, column) for arm in ("prompt_tuning", "model_tuning"))
    means = [[float(number) for number in re.findall(r"(\d+\.\d) ±", figure.text)] for figure in (prompt, model)]

    assert [p - m for p, m in zip(*means, strict=True)] == pytest.approx(gains)


def test_each_published_figure_names_its_model_and_source():
    assert all(figure.model and "arXiv:2104.08691" in figure.source for figure in PUBLISHED)
    assert len({(figure.experiment, figure.arm, task) for figure in PUBLISHED for task in figure.tasks}) == sum(
        len(figure.tasks) for figure in PUBLISHED
    )
