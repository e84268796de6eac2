"""The pure parts of benchmarks/speed: figures by hand, and the protocol with a fake worker."""

import io
import json

import pytest

from benchmarks.speed.__main__ import main, table_row
from benchmarks.speed.cases import CASES, check_agreement
from benchmarks.speed.figures import quartiles, ratios
from benchmarks.speed.protocol import serve
from benchmarks.speed.work import flops

KINDS = ("training_step", "generate")


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
    found = {
        "agreement": "same tokens",
        "target": 1.4,
        "ours_s": [0.1, 0.1],
        "peer_s": [0.2, 0.3],
        "speed": [2.0, 3.0],
        "share_of_sgemm": [0.5, 0.6],
        "peak_mb": [1500.4, 800.6],
    }

    row = "| step | same tokens | 100.0 | 250.0 | 2.50 (2.25 to 2.75) | 1.4 | 55% | 1500 / 801 |"
    assert table_row("step", found) == row


def test_sides_that_differ_are_not_timed():
    step, generation = (next(case for case in CASES if case.settings["kind"] == kind) for kind in KINDS)

    assert check_agreement(step, {"values": [1.0, 2.0]}, {"values": [1.0, 2.00005]}) == "5.0e-05 apart"
    with pytest.raises(RuntimeError, match=r"must agree within 0.0001. Received: \[1.0\] and \[1.001\]"):
        check_agreement(step, {"values": [1.0]}, {"values": [1.001]})
    with pytest.raises(RuntimeError, match="must agree within"):
        check_agreement(step, {"values": [float("nan")]}, {"values": [1.0]})
    with pytest.raises(ValueError, match="longer"):
        check_agreement(step, {"values": [1.0]}, {"values": [1.0, 2.0]})
    assert check_agreement(generation, {"ids": [[5, 6]]}, {"ids": [[5, 6]]}) == "same tokens"
    with pytest.raises(RuntimeError, match="must write the same"):
        check_agreement(generation, {"ids": [[5, 6]]}, {"ids": [[5, 7]]})


def test_operations_are_those_counted_by_hand():
    """T5 1.1 Small: width 512, 6 heads of 64, feed-forward 1024, 8 layers, 32,128 rows in the head; one row of 3 + 5 tokens."""
    encoder = 8 * (
        4 * 2 * 8 * 512 * 384  # query, key, value, output
        + 2 * 2 * 8 * 8 * 384  # scores, weighted sum
        + 3 * 2 * 8 * 512 * 1024
    )
    decoder = 8 * (
        4 * 2 * 2 * 512 * 384
        + 2 * 2 * 2 * 2 * 384
        + (2 * 2 * 2 + 2 * 2 * 8) * 512 * 384  # query and output of 2 tokens, key and value of 8
        + 2 * 2 * 2 * 8 * 384
        + 3 * 2 * 2 * 512 * 1024
    )
    head = 2 * 2 * 512 * 32128
    states = 8 * 2 * 2 * 384 * (8 * 8 + 2 * 2 + 2 * 8)
    shape = {"rows": 1, "prompt": 3, "length": 5}

    assert flops({"kind": "generate", "tokens": 2, **shape}) == encoder + decoder + head
    assert flops({"kind": "training_step", "targets": 2, **shape}) == 2 * (encoder + decoder + head) + states
    assert flops({"kind": "generate", "tokens": 2, **shape, "rows": 7}) == 7 * (encoder + decoder + head)


def test_an_unknown_case_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "sleep"])

    assert "no case has 'sleep' in its name; there are: training step, prompt 20; " in capsys.readouterr().err
