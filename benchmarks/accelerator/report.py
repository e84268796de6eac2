"""Put what the sections have found into one results.json and one results.md.

python -m benchmarks.accelerator.report OUT
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.accelerator.case_names import MODEL_WORDS
from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.accelerator.speed_report import matrix_table, speed_table
from benchmarks.accelerator.written import read_json, write_json

SECTIONS = ("device", "parity", "speed")
PARITY_HEADER = (
    "| model | precision | reference | logits | label scores | gradient | its cosine | equal tokens | agrees |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
PARITY_NOTE = (
    "Answers on JAX compared with those recorded on the CPU under TensorFlow: the largest absolute difference, and in "
    "brackets its share of the largest recorded value. A model agrees if no share is above the limit of its precision "
    "({limits})."
)
SPEED_NOTE = (
    "Each side is a process of its own, on the same weights and batches. Times are medians of one step, or of one batch "
    "that is answered, over interleaved rounds; compilation is not in them. Speed is PEFT's time over ours, median and "
    "quartiles of the rounds. A share is the case's counted operations per second, of the fastest matrix product of the same "
    "precision on this device. A peak marked ≤ is that of an earlier case of the same process."
)


def main(output: Path) -> None:
    """Read the files of the sections and write both reports."""
    results = {name: read_json(output / f"{name}.json") for name in SECTIONS}
    write_json(output / "results.json", results)
    text = markdown(results)
    (output / "results.md").write_text(text, encoding="utf-8")
    print(text)


def markdown(results: dict[str, Any]) -> str:
    """Return the whole report; a section without results says so."""
    device, parity, speed = (results.get(name) for name in SECTIONS)
    blocks = [device_lines(device) if device else "The machine could not be named.", used_devices(results)]
    blocks.append("### Answers\n\n" + (parity_section(parity) if parity else "No results."))
    blocks.append("### Speed beside PEFT\n\n" + (speed_section(speed) if speed else "No results."))
    return "\n\n".join(blocks) + "\n"


def device_lines(device: dict[str, Any]) -> str:
    """Name the device and the versions."""
    accelerator = device["accelerator"] or "No NVIDIA GPU"
    versions = ", ".join(f"{name} {version}" for name, version in device["versions"].items())
    return f"{accelerator}; {device['processor']}, {device['cores']} cores; {device['date']}. {versions}."


def used_devices(results: dict[str, Any]) -> str:
    """Name the devices that both frameworks said they ran on."""
    parity, speed = results.get("parity") or {"cases": []}, results.get("speed") or {"cases": []}
    ours = {case["device"] for case in parity["cases"]}
    peers: set[str] = set()
    for case in speed["cases"]:
        for devices, side in ((ours, "our"), (peers, "peer")):
            devices |= {(case["prepared"].get(side) or {}).get("device")} - {None}
    versions = _peer_versions(speed)
    return f"JAX ran on: {_joined(ours)}. PyTorch ran on: {_joined(peers)}{f' ({versions})' if versions else ''}."


def _peer_versions(speed: dict[str, Any]) -> str:
    prepared = [case["prepared"].get("peer") or {} for case in speed["cases"]]
    return next((found["versions"] for found in prepared if "versions" in found), "")


def _joined(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "-"


def parity_section(parity: dict[str, Any]) -> str:
    """Return the table of answers, and what failed."""
    limits = ", ".join(f"{precision.words}: {precision.limit:g}" for precision in PRECISIONS.values())
    rows = [
        parity_row(case, reference) for case in parity["cases"] for reference in sorted(case["against"], reverse=True)
    ]
    lines = [PARITY_NOTE.format(limits=limits), "", PARITY_HEADER, *rows]
    lines += ["", *(f"Failed: {name}: {why}." for name, why in parity["failed"].items())] if parity["failed"] else []
    return "\n".join(lines)


def parity_row(case: dict[str, Any], reference: str) -> str:
    """Return the row of one model in one precision, compared with the answers of one dtype."""
    found, precision = case["against"][reference], PRECISIONS[case["precision"]]
    parts = ("logits", "scores", "gradient")
    agrees = all(found[part]["relative"] <= precision.limit for part in parts)
    verdict = ("yes" if agrees else "no") if case["same_weights"] else "other weights"
    differences = [f"{found[part]['absolute']:.1e} ({found[part]['relative']:.1e})" for part in parts]
    ends = [f"{found['gradient_cosine']:.6f}", f"{found['equal_tokens']:.0%}", verdict]
    return f"| {' | '.join([MODEL_WORDS[case['model']], precision.words, reference, *differences, *ends])} |"


def speed_section(speed: dict[str, Any]) -> str:
    """Return the tables of speed, and what failed or was left out."""
    lines = [SPEED_NOTE, "", matrix_table(speed), "", speed_table(speed), ""]
    for case in speed["cases"]:
        lines += [f"Failed: {case['name']}, {side}: {why}.\n" for side, why in case["failed"].items()]
    if speed["left_out"]:
        lines.append(f"Left out for lack of time: {'; '.join(speed['left_out'])}.")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
