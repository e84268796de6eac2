"""The logs of pretraining runs in, a plot of what was measured on held-out text over the tokens seen out.

    python benchmarks/loss_curves.py --run "span corruption=runs/span" --run "then the mixture=runs/span+runs/mini" \
        --output runs/loss.png

Directories joined by + went on from each other; the tokens of the first count for the second. Runs with `--measure-text` have
one panel more, of bits per byte. `--tokens-before 75.6` (millions) is for runs that began from a model whose logs are not at hand.
"""

import argparse
import json
from pathlib import Path

NAMES = {
    "span_corruption": "span corruption",
    "prefix_lm": "prefix LM",
    "instructions": "instruction tasks",
    "bits_per_byte": "text apart",
}


def read_curves(directories: list[Path], tokens_before: int = 0) -> dict[str, list[tuple[int, float]]]:
    """Return the (tokens seen, figure) of runs that went on from each other.

    For every objective the figure is its loss in nats per target token; for "bits_per_byte" it is that.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    before = tokens_before
    for directory in directories:
        tokens = 0
        for line in (directory / "log.jsonl").read_text("utf-8").splitlines():
            entry = json.loads(line)
            tokens = entry.get("num_tokens", tokens)
            measures = dict(entry.get("held_out", {}))
            if "bits_per_byte" in entry:
                measures["bits_per_byte"] = entry["bits_per_byte"]
            for name, figure in measures.items():
                curves.setdefault(name, []).append((before + tokens, figure))
        before += tokens
    return curves


def write_plot(runs: dict[str, list[Path]], path: Path, *, tokens_before: int = 0) -> None:
    """Draw one panel per objective and one of bits per byte, one line per run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {label: read_curves(directories, tokens_before) for label, directories in runs.items()}
    objectives = [name for name in NAMES if any(name in curve for curve in curves.values())]
    figure, axes = pyplot.subplots(1, len(objectives), figsize=(4 * len(objectives), 3.4), squeeze=False)
    for axis, objective in zip(axes[0], objectives, strict=True):
        for number, (label, curve) in enumerate(curves.items()):
            if objective in curve:
                tokens, losses = zip(*curve[objective], strict=True)
                millions = [count / 1e6 for count in tokens]
                # The first runs lie on top, as those that went on from them repeat their stretch.
                axis.plot(
                    millions, losses, marker="o", markersize=3, color=f"C{number}", zorder=10 - number, label=label
                )
        axis.set_title(NAMES[objective])
        axis.set_xlabel("tokens seen (millions)")
        if not tokens_before:
            axis.set_xlim(left=0)
        axis.set_ylabel("bits per byte" if objective == "bits_per_byte" else "nats per token")
        axis.grid(alpha=0.3)
    figure.suptitle("Held-out text")
    handles = {
        label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, metavar="LABEL=DIR[+DIR]", help="may be repeated")
    parser.add_argument("--output", required=True, type=Path, help="a .png file")
    parser.add_argument("--tokens-before", type=float, default=0.0, help="millions that every run began with")
    arguments = parser.parse_args()
    runs: dict[str, list[Path]] = {}
    for run in arguments.run:
        label, separator, directories = run.partition("=")
        if not (label and separator and directories):
            parser.error(f"--run must be LABEL=DIR[+DIR]. Received: {run!r}.")
        runs[label] = [Path(directory) for directory in directories.split("+")]
    write_plot(runs, arguments.output, tokens_before=round(1e6 * arguments.tokens_before))
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
