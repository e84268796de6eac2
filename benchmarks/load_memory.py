"""How much memory does loading a big checkpoint take? A sharded Hugging Face T5 of random weights is written and loaded.

    python -m benchmarks.load_memory --shape large --output runs/load_memory [--format preset]
    python -m benchmarks.measured_tables --take load_memory runs/load_memory

Each dtype is loaded in a process of its own. What counts is the highest resident memory of that process, less what it had
after a small model had been loaded, beside the bytes of the model's weights in that dtype. Linux only (/proc). load_memory.json
keeps what earlier runs found of other shapes and formats.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import safetensors.numpy

from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.load_memory import KEPT

SHAPES = {  # T5 1.1: width, feed-forward, layers, heads (google-research/prompt-tuning, configs/models/sizes)
    "small": (512, 1024, 8, 6),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 24, 16),
    "xl": (2048, 5120, 24, 32),
}
HEAD_DIM = 64
ROWS = 32128
KINDS = (("float32", None), ("bfloat16", None), ("bfloat16", "int8"), ("float32", "int8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--format", choices=("hugging_face", "preset"), default="hugging_face")
    parser.add_argument("--output", type=Path, default=Path("runs/load_memory"))
    parser.add_argument(
        "--load", nargs=2, metavar=("DTYPE", "QUANTIZATION"), help="measure one load and print it as JSON"
    )
    parsed = parser.parse_args()
    directory = parsed.output / parsed.shape
    if parsed.load and parsed.format == "preset":
        directory = preset_of(directory)
    if parsed.load:
        print(json.dumps(measure(directory, parsed.load[0], parsed.load[1] if parsed.load[1] != "none" else None)))
        return
    if not (directory / "config.json").exists():
        write_checkpoint(directory, *SHAPES[parsed.shape])
    if parsed.format == "preset":
        directory = write_as_preset(directory)
    results, load_before = [], load()
    for dtype, quantization in KINDS:
        command = [sys.executable, "-m", "benchmarks.load_memory", "--shape", parsed.shape, "--format", parsed.format]
        command += ["--output", str(parsed.output)]
        done = subprocess.run(
            [*command, "--load", dtype, quantization or "none"], check=True, capture_output=True, text=True
        )
        found = {"shape": parsed.shape, "format": parsed.format}
        results.append({**found, **json.loads(done.stdout.splitlines()[-1])})
    KEPT.write(parsed.output, {**conditions(load_before), "loads": [*_others(parsed), *results]})


def _others(parsed: argparse.Namespace) -> list[dict[str, object]]:
    """Return what earlier runs found of other shapes and formats."""
    file = parsed.output / f"{KEPT.name}.json"
    known = json.loads(file.read_text(encoding="utf-8"))["loads"] if file.is_file() else []
    return [row for row in known if (row["shape"], row["format"]) != (parsed.shape, parsed.format)]


def write_checkpoint(directory: Path, hidden: int, wide: int, layers: int, heads: int) -> None:
    """Write the model in float16 shards of one layer each, so that none is ever whole in memory."""
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    inner = heads * HEAD_DIM

    def draw(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape, dtype=np.float32) * 0.05).astype(np.float16)

    shards = [{"shared.weight": draw(ROWS, hidden), "lm_head.weight": draw(ROWS, hidden)}]
    weight_map = {}
    for stack in ("encoder", "decoder"):
        blocks = ["SelfAttention"] if stack == "encoder" else ["SelfAttention", "EncDecAttention"]
        for i in range(layers):
            shard = {}
            for k, block in enumerate(blocks):
                at = f"{stack}.block.{i}.layer.{k}"
                shard |= {f"{at}.{block}.{part}.weight": draw(inner, hidden) for part in "qkv"}
                shard |= {f"{at}.{block}.o.weight": draw(hidden, inner), f"{at}.layer_norm.weight": draw(hidden)}
                if i == k == 0:
                    shard[f"{at}.{block}.relative_attention_bias.weight"] = draw(32, heads)
            at = f"{stack}.block.{i}.layer.{len(blocks)}"
            shard |= {f"{at}.DenseReluDense.{part}.weight": draw(wide, hidden) for part in ("wi_0", "wi_1")}
            shard |= {f"{at}.DenseReluDense.wo.weight": draw(hidden, wide), f"{at}.layer_norm.weight": draw(hidden)}
            if i == 0:
                shard[f"{stack}.final_layer_norm.weight"] = draw(hidden)
            shards.append(shard)
            if len(shards) > 1:
                _write_shard(directory, shards.pop(0), weight_map)
    _write_shard(directory, shards.pop(0), weight_map)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = {
        "model_type": "t5", "vocab_size": ROWS, "d_model": hidden, "d_kv": HEAD_DIM, "d_ff": wide, "num_layers": layers,
        "num_heads": heads, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))


def preset_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}-preset")


def write_as_preset(directory: Path) -> Path:
    """Convert the checkpoint once, in a process of its own."""
    preset = preset_of(directory)
    if not preset.exists():
        vocabulary = next(Path(__file__).parents[1].glob("softprompt_tf/backbones/bundled/mini/**/*.spm"))
        convert = Path(sys.executable).with_name("softprompt")
        options = ["--vocabulary", vocabulary, "--dtype", "float16"]
        subprocess.run([convert, "convert", directory, preset, *options], check=True)
    return preset


def _write_shard(directory: Path, shard: dict[str, np.ndarray], weight_map: dict[str, str]) -> None:
    name = f"model-{len(set(weight_map.values())):05d}.safetensors"
    safetensors.numpy.save_file(shard, directory / name)
    weight_map |= dict.fromkeys(shard, name)


def measure(directory: Path, dtype: str, quantization: str | None) -> dict[str, object]:
    """Load once; return bytes of the weights, the peak above the start, and seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.backbones.bundled import bundled_directory

    load_t5("mini", dtype=dtype, quantization=quantization)  # libraries, kernels and allocators are there afterwards
    vocabulary = None
    if not (directory / "model.weights.h5").exists() and not (directory / "model.weights.json").exists():
        vocabulary = next(bundled_directory("mini").rglob("*.spm"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = _status("VmRSS"), time.perf_counter()
    t5 = load_t5(directory, dtype=dtype, quantization=quantization, vocabulary=vocabulary)
    seconds = time.perf_counter() - started
    weights = sum(int(np.prod(weight.shape)) * _width(str(weight.dtype)) for weight in t5.backbone.weights)
    peak = _status("VmHWM") - before
    return {
        "dtype": dtype, "quantization": quantization, "weight_bytes": weights, "peak_bytes": peak, "seconds": seconds,
    }  # fmt: skip


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def _width(dtype: str) -> int:
    return {"float32": 4, "bfloat16": 2, "int8": 1}[dtype]


if __name__ == "__main__":
    main()
