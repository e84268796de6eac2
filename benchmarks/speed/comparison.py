"""Part "comparison": our side, PEFT's, and one large matrix product, in turn, all three in the case's dtype.

Both sides have the same weights, prompts and batches, and must agree before anything is timed.
"""

from typing import Any

from benchmarks.speed.cases import CASES, SHARED, Case, check_agreement
from benchmarks.speed.figures import Target, quartiles, ratios, spread
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import Worker, started
from benchmarks.speed.work import flops

LIMIT = {"size": 3072}
HEADER = (
    "| case | both sides agree | ours, ms | PEFT, ms | our speed to PEFT's | ours, of a product's rate | PEFT, of it | "
    "peak, ours / PEFT, MB | of the rounds |\n|---|---|---|---|---|---|---|---|---|"
)


def measure(options: Options) -> dict[str, Any]:
    """Run the chosen cases; return what was found, by name."""
    found = {}
    for case in chosen(options):
        found[case.name] = run_case(case, options, warm_up=1 if options.is_quick else 3, rounds=options.rounds)
        print(table_row(case.name, found[case.name]), flush=True)
    return found


def chosen(options: Options) -> list[Case]:
    """Return the cases of a run."""
    return [
        case
        for case in CASES
        if options.only in case.name and case.dtype in options.dtypes and (case.is_quick or not options.is_quick)
    ]


def run_case(case: Case, options: Options, *, warm_up: int, rounds: int) -> dict[str, Any]:
    """Start the workers of a case, compare, and end them."""
    with started("our", "peer", "limit", peer_python=options.peer_python) as workers:
        settings = {"model": str(options.model()), **SHARED, **case.settings}
        return compare(workers, case, settings, warm_up=warm_up, rounds=rounds)


def compare(
    workers: list[Worker], case: Case, settings: dict[str, Any], *, warm_up: int, rounds: int
) -> dict[str, Any]:
    """Check that both sides agree, then time them in turn."""
    ours, peer, limit = workers
    prepared = [worker.ask("prepare", case=settings) for worker in (ours, peer)]
    agreement = check_agreement(case, *prepared)
    limit_flops = limit.ask("prepare", case={**LIMIT, "dtype": case.dtype})["flops"]
    for worker in workers * warm_up:
        worker.ask("run")
    whole_peaks = [worker.ask("forget_peak")["vmhwm_mb"] for worker in (ours, peer)]
    answers = [[worker.ask("run") for worker in workers] for _ in range(rounds)]
    times = [[answer["seconds"] for answer in column] for column in zip(*answers, strict=True)]
    rates = [limit_flops / seconds for seconds in times[2]]
    work = flops(settings)
    return {
        "agreement": agreement,
        "target": case.target,
        "dtype": case.dtype,
        "ours_s": times[0],
        "peer_s": times[1],
        "speed": ratios(times[1], times[0]),
        "flops": work,
        "product_flops_per_s": rates,
        "share_of_product": [work / seconds / rate for seconds, rate in zip(times[0], rates, strict=True)],
        "peer_share_of_product": [work / seconds / rate for seconds, rate in zip(times[1], rates, strict=True)],
        "peak_mb": whole_peaks,
        "peak_of_rounds_mb": [worker.ask("memory")["vmhwm_mb"] for worker in (ours, peer)],
        "positions": [prepared[0].get("positions"), answers[-1][1].get("positions")],
    }


def table(found: dict[str, Any]) -> str:
    """Return a Markdown table for each dtype."""
    blocks = []
    for dtype, cases in by_dtype(found).items():
        rows = [table_row(name, case) for name, case in cases.items()]
        blocks.append("\n".join([f"{dtype} on both sides:\n", HEADER, *rows]))
    return "\n\n".join(blocks)


def by_dtype(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return dtype -> name without the dtype -> case."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, case in found.items():
        kinds.setdefault(case["dtype"], {})[name.removesuffix(f", {case['dtype']}")] = case
    return kinds


def table_row(name: str, found: dict[str, Any]) -> str:
    """Return one row: medians, with quartiles of the ratio."""
    ours, peer = (1e3 * quartiles(found[key])[1] for key in ("ours_s", "peer_s"))
    shares = [quartiles(found[key])[1] for key in ("share_of_product", "peer_share_of_product")]
    peaks = [f"{ours:.0f} / {peer:.0f}" for ours, peer in (found["peak_mb"], found["peak_of_rounds_mb"])]
    cells = [
        name,
        found["agreement"],
        f"{ours:.1f}",
        f"{peer:.1f}",
        spread(found["speed"]),
        *(f"{share:.0%}" for share in shares),
        *peaks,
    ]
    return f"| {' | '.join(cells)} |"


def targets(found: dict[str, Any]) -> list[Target]:
    """Return the targets of speed, and of a training step also those of a product's rate (float32) and of memory."""
    lines = []
    for name, case in found.items():
        if case["target"]:
            lines.append(Target(f"{name}: speed to PEFT's", case["target"], case["speed"]))
        if case["target"] and case["dtype"] == "float32" and name.startswith("training step"):
            lines.append(Target(f"{name}: share of a product's rate", 0.75, case["share_of_product"], unit="%"))
        if name.startswith("training step"):
            ours, peer = case["peak_of_rounds_mb"]
            lines.append(Target(f"{name}: peak memory of its process to PEFT's", 1.0, [ours / peer], is_floor=False))
    return lines
