"""SuperGLUE's one number, by hand."""

import pytest

from softprompt_tf.errors import ConfigError
from softprompt_tf.tasks import SUPERGLUE_TASKS, superglue_score, task_table

ONE_METRIC = {name: {"accuracy": 0.5} for name in SUPERGLUE_TASKS}


def test_a_tasks_metrics_are_averaged_before_the_tasks():
    metrics = {**ONE_METRIC, "superglue_cb": {"macro_f1": 0.4, "accuracy": 0.8}, "superglue_wsc": {"accuracy": 1.0}}

    # Six tasks of 0.5, one of 0.6, one of 1.0; over all nine metrics it would be 0.578.
    assert superglue_score(metrics) == pytest.approx((6 * 0.5 + 0.6 + 1.0) / 8)


def test_other_tasks_do_not_count():
    assert superglue_score({**ONE_METRIC, "squad": {"exact_match": 1.0}}) == 0.5


def test_a_missing_task_is_named():
    metrics = {name: values for name, values in ONE_METRIC.items() if name != "superglue_copa"}

    with pytest.raises(
        ConfigError, match=r"metrics of all eight tasks. Received: none of superglue_copa, superglue_wic\."
    ):
        superglue_score({**metrics, "superglue_wic": {}})


def test_the_eight_tasks_are_those_that_are_shipped(pytestconfig):
    shipped = task_table(pytestconfig.rootpath / "configs/tasks")

    assert tuple(name for name in shipped if name.startswith("superglue_")) == SUPERGLUE_TASKS
