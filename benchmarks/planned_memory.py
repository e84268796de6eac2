"""Do processes that train take the memory that `softprompt plan` says? Peaks are measured, and put beside the plans.

    python -m benchmarks.planned_memory --output runs/planned_memory
    python -m benchmarks.measured_tables --take planned_memory runs/planned_memory

Each case is a process of its own: it trains a tiny T5 for a step, so that libraries and kernels are there, loads the T5 of the
case (mini, or T5 1.1 of random weights from a checkpoint that is written once) and takes two training steps. What counts is its
highest resident memory less what it had before the T5 was loaded. Linux only (/proc). It takes about ten minutes on 2 cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load_memory import SHAPES, write_checkpoint

NAME = "planned_memory"
STEPS = 2
FIGURES = ("peak_bytes", "loaded_bytes")


def _case(backbone: str, rows: int, length: int, targets: int, **others: Any) -> dict[str, Any]:
    default = {"method": "prompt_tuning", "dtype": "float32", "quantization": None, "gradient_checkpointing": False}
    return {"backbone": backbone, "rows": rows, "length": length, "targets": targets, **default, **others}


CASES = (
    _case("mini", 32, 128, 8),
    _case("mini", 64, 256, 8, dtype="bfloat16"),
    _case("mini", 64, 128, 8),
    _case("mini", 64, 128, 8, micro_batch_size=8),
    _case("small", 16, 128, 8),
    _case("small", 32, 256, 8, gradient_checkpointing=True),
    _case("small", 16, 256, 16, dtype="bfloat16"),
    _case("small", 8, 256, 64),
    _case("small", 32, 256, 8, method="late_prompts"),
    _case("small", 16, 128, 8, method="lora"),
    _case("small", 16, 128, 8, method="prefix_tuning"),
    _case("small", 16, 128, 8, method="adapters"),
    _case("small", 8, 128, 8, quantization="int8"),
    _case("small", 8, 128, 8, quantization="int4"),
    _case("base", 8, 128, 8),
    _case("base", 16, 128, 8, dtype="bfloat16"),
    _case("base", 16, 256, 8, gradient_checkpointing=True),
    _case("base", 8, 128, 8, quantization="int8"),
)


def main() -> None:
    """Measure every case that the output has not yet, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs") / NAME)
    parser.add_argument("--case", type=json.loads, help="measure one case, as JSON, and print its peak")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.output)))
        return
    file = arguments.output / f"{NAME}.json"
    found = json.loads(file.read_text())["cases"] if file.exists() else []
    for case in CASES:
        if any(case == {key: each.get(key) for key in (*case, *each) if key not in FIGURES} for each in found):
            continue
        _write_backbone(case["backbone"], arguments.output)
        command = [sys.executable, "-m", "benchmarks.planned_memory", "--output", str(arguments.output)]
        done = subprocess.run([*command, "--case", json.dumps(case)], check=True, capture_output=True, text=True)
        found.append({**case, **json.loads(done.stdout.splitlines()[-1])})
        print(json.dumps(found[-1]), flush=True)
        file.write_text(json.dumps({"machine": _machine(), "cases": found}, indent=1) + "\n")


def measure(case: dict[str, Any], output: Path) -> dict[str, int]:
    """Return the peak of a training process above what it had before the T5, what loading left, and the plan."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import softprompt_tf as sp
    from softprompt_tf.backbones.bundled import bundled_directory

    vocabulary = next(bundled_directory("mini").rglob("*.spm"))
    _train(_tiny_t5(vocabulary, case), {**case, "rows": 2, "length": 8, "targets": 4})
    before = _status("VmRSS")
    how = {"dtype": case["dtype"], "quantization": case["quantization"]}
    is_bundled = case["backbone"] == "mini"
    t5 = (
        sp.load_t5("mini", **how) if is_bundled else sp.load_t5(output / case["backbone"], vocabulary=vocabulary, **how)
    )
    loaded = _status("VmRSS") - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: it is that of training, and not of loading
    _train(t5, case)
    return {"peak_bytes": _status("VmHWM") - before, "loaded_bytes": loaded}


def planned(case: dict[str, Any]) -> Any:
    """Return the plan of a case."""
    import softprompt_tf as sp

    return sp.plan(
        case["backbone"],
        case["method"],
        batch_size=case["rows"],
        input_tokens=case["length"],
        target_tokens=case["targets"],
        dtype=case["dtype"],
        quantization=case["quantization"],
        gradient_checkpointing=case["gradient_checkpointing"],
        micro_batch_size=case.get("micro_batch_size"),
    )


def _train(t5: Any, case: dict[str, Any]) -> None:
    import softprompt_tf as sp

    model = sp.PromptedT5(t5, getattr(sp, case["method"])(), max_target_tokens=case["targets"])
    model.compile(
        optimizer=sp.Adafactor(0.3),
        loss=sp.TargetCrossEntropy(),
        gradient_checkpointing=case["gradient_checkpointing"],
        micro_batch_size=case.get("micro_batch_size"),
    )
    generator = np.random.default_rng(0)
    ids, targets = (
        generator.integers(3, 8000, (case["rows"], case[key])).astype("int32") for key in ("length", "targets")
    )
    tokens = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": np.ones_like(ids),
        "decoder_token_ids": np.roll(targets, 1, axis=1),
        "decoder_padding_mask": np.ones_like(targets),
    }
    model.fit(tokens, targets, batch_size=case["rows"], epochs=STEPS, verbose=0)


def _tiny_t5(vocabulary: Path, case: dict[str, Any]) -> Any:
    import keras_hub

    from softprompt_tf.backbones import FrozenT5
    from softprompt_tf.backbones.loading.built_layers import plain_backbone

    backbone = plain_backbone(
        vocabulary_size=8192, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32, key_value_dim=6, dropout=0.0,
        activation="gelu", use_gated_activation=True, tie_embedding_weights=False, dtype=case["dtype"],
    )  # fmt: skip
    t5 = FrozenT5(backbone, keras_hub.models.T5Tokenizer(proto=vocabulary.read_bytes()), name="tiny")
    if case["quantization"]:
        t5.quantize(case["quantization"])
    return t5


def _write_backbone(name: str, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if name in SHAPES and not (output / name / "config.json").exists():
        write_checkpoint(output / name, *SHAPES[name])


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def _machine() -> dict[str, Any]:
    import importlib.metadata

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "tensorflow": importlib.metadata.version("tensorflow"),
    }


if __name__ == "__main__":
    main()
