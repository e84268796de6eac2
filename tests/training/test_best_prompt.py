"""Which of several evaluations is the best: one number for the metrics of all tasks."""

import pytest

from softprompt_tf.training.best_prompt import mean_score


def test_the_metrics_of_one_task_are_averaged():
    assert mean_score({"accuracy": 0.6, "f1": 0.2}) == pytest.approx(0.4)


def test_a_task_counts_once_however_many_metrics_it_has():
    metrics = {"cb/accuracy": 0.9, "cb/f1": 0.7, "rte/accuracy": 0.5}

    assert mean_score(metrics) == pytest.approx((0.8 + 0.5) / 2)
