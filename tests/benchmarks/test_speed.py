"""The pure parts of benchmarks/speed: figures by hand, and the protocol with a fake worker."""

import io
import json

import pytest

from benchmarks.speed.__main__ import table_row
from benchmarks.speed.figures import quartiles, ratios
from benchmarks.speed.protocol import serve


def test_quartiles_lie_between_the_values():
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)


def test_ratios_are_taken_round_by_round():
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_ratios_refuse_rounds_that_one_side_lacks():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_worker_prepares_runs_and_goes_on_after_an_error():
    calls = []
    requests = [{"do": "run"}, {"do": "prepare", "case": {"prompt": 3}}, {"do": "run"}]
    answers = io.StringIO()

    serve(
        lambda case: (lambda: calls.append(case), {"losses": [1.0]}),
        io.StringIO("".join(json.dumps(request) + "\n" for request in requests)),
        answers,
    )

    error, prepared, timed = map(json.loads, answers.getvalue().splitlines())
    assert "must come after `prepare`" in error["error"]
    assert prepared == {"losses": [1.0]}
    assert timed["seconds"] >= 0
    assert calls == [{"prompt": 3}]


def test_table_row_shows_medians_and_the_ratio_of_rounds():
    found = {"losses_apart": 2e-6, "ours_s": [0.1, 0.1], "peer_s": [0.2, 0.3], "speed": [2.0, 3.0]}

    assert table_row("step", found) == "| step | 2.0e-06 | 100.0 | 250.0 | 2.50 (2.25 to 2.75) |"
