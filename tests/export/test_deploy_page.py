"""Panels, alerts and the autoscaler's rule on pages of metrics as TF Serving writes them: the numbers are those by hand.

A page of ours has what a busy server shows: gRPC and REST predicts, failures, health probes, warm-ups. The recorded page is that of
TF Serving 2.20's own code, which had no transport: nothing there was asked over gRPC or HTTP.
"""

import math

import pytest
from deploy_kit import load, load_panels
from promql_twin import ask, read_page

NOTHING = frozenset()

# A server 300 s after the page on which every series stands at 0. 90 gRPC and 30 REST predicts ran (2 s and 1 s each, times in
# microseconds), 6 were refused by a full queue, 4 had a wrong input; 60 health probes were answered.
BUSY = """
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="t5",status="OK"} 180
:tensorflow:serving:request_count{model_name="t5",status="UNAVAILABLE"} 6
:tensorflow:serving:request_count{model_name="t5",status="INVALID_ARGUMENT"} 4
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{model_name="t5",API="Predict",entrypoint="GRPC",le="1e+06"} 0
:tensorflow:serving:request_latency_bucket{model_name="t5",API="Predict",entrypoint="GRPC",le="2e+06"} 90
:tensorflow:serving:request_latency_bucket{model_name="t5",API="Predict",entrypoint="GRPC",le="+Inf"} 90
:tensorflow:serving:request_latency_bucket{model_name="t5",API="predict",entrypoint="REST",le="1e+06"} 30
:tensorflow:serving:request_latency_bucket{model_name="t5",API="predict",entrypoint="REST",le="2e+06"} 30
:tensorflow:serving:request_latency_bucket{model_name="t5",API="predict",entrypoint="REST",le="+Inf"} 30
:tensorflow:serving:request_latency_bucket{model_name="t5",API="",entrypoint="REST",le="1e+06"} 60
:tensorflow:serving:request_latency_bucket{model_name="t5",API="",entrypoint="REST",le="2e+06"} 60
:tensorflow:serving:request_latency_bucket{model_name="t5",API="",entrypoint="REST",le="+Inf"} 60
# TYPE :tensorflow:serving:runtime_latency histogram
:tensorflow:serving:runtime_latency_bucket{model_name="",API="Predict",runtime="TF1",le="1e+06"} 0
:tensorflow:serving:runtime_latency_bucket{model_name="",API="Predict",runtime="TF1",le="2e+06"} 0
:tensorflow:serving:runtime_latency_bucket{model_name="",API="Predict",runtime="TF1",le="+Inf"} 4
:tensorflow:serving:runtime_latency_count{model_name="",API="Predict",runtime="TF1"} 4
:tensorflow:serving:runtime_latency_bucket{model_name="t5",API="Predict",runtime="TF1",le="1e+06"} 120
:tensorflow:serving:runtime_latency_bucket{model_name="t5",API="Predict",runtime="TF1",le="2e+06"} 120
:tensorflow:serving:runtime_latency_bucket{model_name="t5",API="Predict",runtime="TF1",le="+Inf"} 120
:tensorflow:serving:runtime_latency_count{model_name="t5",API="Predict",runtime="TF1"} 120
# TYPE :tensorflow:serving:batching_session:queuing_latency histogram
:tensorflow:serving:batching_session:queuing_latency_bucket{thread_pool_name="",le="100000"} 62
:tensorflow:serving:batching_session:queuing_latency_bucket{thread_pool_name="",le="200000"} 124
:tensorflow:serving:batching_session:queuing_latency_bucket{thread_pool_name="",le="+Inf"} 124
:tensorflow:serving:batching_session:queuing_latency_sum{thread_pool_name=""} 1.5e+07
:tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=""} 124
:tensorflow:serving:batching_session:wrapped_run_count{} 31
:tensorflow:serving:batching_session:processed_batch_size_sum{} 248
:tensorflow:serving:batching_session:processed_batch_size_count{} 31
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/t5/1",status="success"} 1
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/t5/2",status="fail"} 3
:tensorflow:cc:saved_model:load_latency{model_path="/models/t5/1"} 2.5e+06
:tensorflow:serving:model_warmup_latency_sum{model_path="/models/t5/1",status="OK"} 4e+06
"""


def at_start(page):
    return dict.fromkeys(page, 0.0)


def labels(**pairs):
    return frozenset(pairs.items())


def panel(title, page, *, model="t5", seconds=300):
    """Return the values of a panel's expressions, in its order, for pages that are `seconds` apart."""
    (found,) = [panel for panel in load_panels() if panel["title"] == title]
    texts = [t["expr"].replace("$__rate_interval", "5m").replace("$model", model) for t in found["targets"]]
    return [ask(text, at_start(page), page, seconds=seconds) for text in texts]


def alert(name, page, *, seconds=300):
    (rule,) = [rule for group in load("alerts.yaml")["groups"] for rule in group["rules"] if rule["alert"] == name]
    return ask(rule["expr"], at_start(page), page, seconds=seconds)


def without(page, *, name, **pairs):
    return {key: value for key, value in page.items() if not (key[0] == name and labels(**pairs) <= key[1])}


@pytest.fixture(scope="module")
def busy():
    return read_page(BUSY, instance="pod-1:8501")


@pytest.fixture(scope="module")
def recorded(shared_data):
    return read_page((shared_data / "tfserving" / "prometheus_page.txt").read_text(encoding="utf-8"), instance="a:8501")


def test_requests_are_predicts_of_both_transports_without_health_probes(busy):
    ran, others = panel("Requests per second, by status", busy)

    assert ran == {NOTHING: 120 / 300}
    assert others == {labels(status="UNAVAILABLE"): 6 / 300, labels(status="INVALID_ARGUMENT"): 4 / 300}


def test_the_share_of_failures_is_of_predicts_alone(busy):
    (share,) = panel("Share of requests that the server failed", busy)

    assert share == {NOTHING: pytest.approx(6 / 126)}


def test_the_share_of_failures_is_0_where_none_failed_and_1_where_all_did(busy):
    good = without(busy, name=":tensorflow:serving:request_count", status="UNAVAILABLE")
    bad = without(busy, name=":tensorflow:serving:runtime_latency_count", model_name="t5")

    assert panel("Share of requests that the server failed", good) == [{NOTHING: 0.0}]
    assert panel("Share of requests that the server failed", bad) == [{NOTHING: 1.0}]


def test_the_time_of_a_request_is_that_of_grpc_and_rest_predicts(busy):
    median, *_ = panel("Time of a request in the server", busy)

    # Rank 60 of 120: 30 lie below 1 s, the others between 1 s and 2 s.
    assert median == {NOTHING: pytest.approx(1 + 30 / 90)}


def test_the_time_in_the_graph_leaves_warm_ups_out(busy):
    median, high = panel("Time in the graph", busy)

    assert (median, high) == ({NOTHING: pytest.approx(0.5)}, {NOTHING: pytest.approx(0.95)})


def test_the_panels_of_batches_by_hand(busy):
    pod = labels(instance="pod-1:8501")

    assert panel("Requests that wait, per pod", busy) == [{pod: pytest.approx(15 / 300)}]
    assert panel("Wait for a batch", busy) == [{NOTHING: pytest.approx(0.1)}, {NOTHING: pytest.approx(0.19)}]
    assert panel("Rows and requests per batch", busy) == [{NOTHING: 8.0}, {NOTHING: 4.0}]


def test_the_panels_of_loads_by_hand(busy):
    assert panel("Loads that failed, last hour", busy) == [{labels(model_path="/models/t5/2"): 3}]
    assert panel("Time of a version's loads", busy) == [{labels(model_path="/models/t5/1"): 2.5}]
    assert panel("Time of a version's warm-up", busy) == [{labels(model_path="/models/t5/1"): 4.0}]


def test_the_alert_of_failures_is_not_diluted_by_probes(busy):
    many_probes = {**busy, (":tensorflow:serving:request_count", at(busy, status="OK")): 100_000}

    assert alert("ModelServerFailsRequests", many_probes) == {labels(model_name="t5"): pytest.approx(6 / 126)}


def at(page, **pairs):
    (found,) = [key[1] for key in page if key[0] == ":tensorflow:serving:request_count" and labels(**pairs) <= key[1]]
    return found


def test_the_alert_of_failures_fires_where_no_predict_ever_ran(busy):
    page = without(busy, name=":tensorflow:serving:runtime_latency_count", model_name="t5")

    assert alert("ModelServerFailsRequests", page) == {labels(model_name="t5"): 1.0}


def test_the_alert_of_failures_is_silent_below_one_percent_and_for_mistakes_of_callers(busy):
    failed = (":tensorflow:serving:request_count", at(busy, status="UNAVAILABLE"))

    assert alert("ModelServerFailsRequests", {**busy, failed: 1}) == {}  # 1 of 121
    assert alert("ModelServerFailsRequests", without(busy, name=failed[0], status="UNAVAILABLE")) == {}


def test_the_other_alerts_by_hand(busy):
    assert alert("ModelServerLoadFailed", busy) == {labels(model_path="/models/t5/2"): 3}
    assert alert("ModelServerQueueIsLong", busy) == {}
    assert alert("ModelServerQueueIsLong", busy, seconds=0.5) == {labels(instance="pod-1:8501"): 30.0}


# === The recorded page ===


@pytest.mark.shared_data
def test_the_recorded_page_has_the_metrics_of_the_list_with_their_kinds_and_labels(shared_data, recorded):
    text = (shared_data / "tfserving" / "prometheus_page.txt").read_text(encoding="utf-8")
    kinds = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE"))
    found = {}
    for name, pairs in recorded:
        found.setdefault(name, set()).update(key for key, _ in pairs if key not in {"le", "instance"})

    for name, metric in load("metrics.yaml").items():
        assert kinds[name] == metric["kind"]
        series = name if metric["kind"] == "counter" else f"{name}_count"
        if series in found:
            assert found[series] == set(metric["labels"])
    assert (
        f"{':tensorflow:serving:request_latency'}_count" not in found
    )  # recorded by the transports, which were not there


@pytest.mark.shared_data
def test_panels_show_the_recorded_page_by_hand(recorded):
    def shown(title):
        return panel(title, recorded, model="demo")

    assert shown("Requests per second, by status") == [{NOTHING: 80 / 300}, {}]
    assert shown("Share of requests that the server failed") == [{NOTHING: 0.0}]
    assert shown("Requests that wait, per pod") == [{labels(instance="a:8501"): pytest.approx(5.72888 / 300)}]
    assert shown("Rows and requests per batch") == [
        {NOTHING: pytest.approx(242 / 53)},
        {NOTHING: pytest.approx(88 / 53)},
    ]
    assert shown("Loads that failed, last hour") == [{}]
    assert shown("Time of a version's loads") == [{labels(model_path="BASE"): pytest.approx(2.14503)}]
    assert shown("Time of a version's warm-up") == [{labels(model_path="BASE"): pytest.approx(22.1984)}]


@pytest.mark.shared_data
def test_the_time_in_the_graph_of_the_recorded_page_is_that_of_the_model(recorded):
    median, high = panel("Time in the graph", recorded, model="demo")

    # Rank 40 of 80: the bucket that ends at 67466.4 us has exactly 40. Rank 76 lies between 393464 (62) and 708235 us (80).
    assert median == {NOTHING: pytest.approx(0.0674664)}
    assert high == {NOTHING: pytest.approx((393464 + (708235 - 393464) * 14 / 18) / 1e6)}


@pytest.mark.shared_data
def test_no_alert_fires_on_the_recorded_page(recorded):
    names = [rule["alert"] for group in load("alerts.yaml")["groups"] for rule in group["rules"]]

    assert [name for name in names if alert(name, recorded)] == []
    assert len(names) == 3


@pytest.mark.shared_data
def test_the_autoscalers_metric_is_on_the_recorded_page(recorded):
    (rule,) = load("prometheus_adapter.yaml")["rules"]["custom"]
    name = rule["seriesQuery"].partition("{")[0]

    assert [value for (series, _), value in recorded.items() if series == name] == [5.72888e06]
    assert not math.isnan(recorded[name, labels(instance="a:8501")])
