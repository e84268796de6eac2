"""The dashboard, the alerts and the autoscaler's rule use metrics that TF Serving has, as metrics.yaml lists them.

Whether the expressions say what they should is the matter of test_deploy_page.py.
"""

import re

import promql_parser
import pytest
from deploy_kit import load, load_panels


@pytest.fixture(scope="module")
def compose():
    return load("compose.yaml")


@pytest.fixture(scope="module")
def metrics():
    return load("metrics.yaml")


@pytest.fixture(scope="module")
def expressions():
    """Where it stands -> the PromQL expression."""
    panels = load_panels()
    found = {f"{panel['title']}, {t['refId']}": t["expr"] for panel in panels for t in panel["targets"]}
    found |= {rule["alert"]: rule["expr"] for group in load("alerts.yaml")["groups"] for rule in group["rules"]}
    (rule,) = load("prometheus_adapter.yaml")["rules"]["custom"]
    return {**found, "adapter": rule["seriesQuery"]}


def test_every_metric_has_a_kind_a_meaning_and_a_source(metrics):
    for name, metric in metrics.items():
        assert re.fullmatch(r":tensorflow:(serving|cc|core):[a-z_:]+", name)
        assert metric["kind"] in {"counter", "histogram"}
        assert metric["meaning"]
        assert re.fullmatch(r"tensorflow/(serving|tensorflow) \S+\.(cc|h)", metric["source"])


def test_every_expression_uses_metrics_of_the_list_in_the_form_of_their_kind(metrics, expressions):
    series = {name for name, metric in metrics.items() if metric["kind"] == "counter"}
    series |= {
        name + end
        for name, metric in metrics.items()
        if metric["kind"] == "histogram"
        for end in ("_bucket", "_sum", "_count")
    }

    used = {place: set(re.findall(r":tensorflow:[\w:]+", text)) for place, text in expressions.items()}

    assert {place: names - series for place, names in used.items() if names - series} == {}
    assert all(used.values())


def test_every_metric_of_the_list_is_used(metrics, expressions):
    text = "\n".join(expressions.values())

    assert [name for name in metrics if name not in text] == []


def test_expressions_use_labels_that_the_metric_has(metrics, expressions):
    added = {"le", "instance", "namespace", "pod"}  # by the histogram's form, by Prometheus and by its operator
    pattern = re.compile(r"(:tensorflow:[\w:]+?)(?:_bucket|_sum|_count)?\{([^}]*)\}")

    for text in expressions.values():
        for name, selector in pattern.findall(text):
            name = name if name in metrics else name + "_count"  # `request_count` is a counter's whole name
            assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selector)) <= {*metrics[name]["labels"], *added}


def test_expressions_are_promql(expressions):
    for text in expressions.values():
        promql_parser.parse(text.replace("$__rate_interval", "5m").replace("$model", "t5"))


def test_the_dashboard_has_a_grid_without_overlap_and_says_what_each_panel_means():
    panels = load_panels()
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels) == 10
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)


def test_grafana_finds_the_data_source_and_the_dashboard(compose):
    (source,) = load("grafana", "provisioning", "datasources", "prometheus.yaml")["datasources"]
    (provider,) = load("grafana", "provisioning", "dashboards", "model_server.yaml")["providers"]
    targets = {volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]}

    assert source["url"] == "http://prometheus:9090"
    assert provider["options"]["path"] in targets
