"""Time a training step on a KerasHub preset as its converter wrote T5 1.1: dropout 0.1 and exact GELU.

The same weights in the shape of T5 1.1 Small are loaded as stored (exact GELU; dropout is left out), with GELU in its tanh form,
and with the stored dropout, which takes the slower pass. Steps are taken by turns.

    python -m benchmarks.speed.preset_forms
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.speed import inputs
from softprompt_tf.backbones import write_preset
from softprompt_tf.backbones.loading.built_layers import plain_backbone

ROWS, LENGTH, TARGETS, PROMPT = 16, 128, 8, 20
FORMS = {
    "exact GELU, no dropout (as loaded)": {"activation": "gelu"},
    "tanh GELU, no dropout": {"activation": "gelu_approximate"},
    "exact GELU, gradient checkpointing": {"activation": "gelu"},
    "tanh GELU, gradient checkpointing": {"activation": "gelu_approximate"},
    "exact GELU, dropout 0.1": {"activation": "gelu", "dropout": 0.1},
}


def main() -> None:
    """Print a table of milliseconds a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="The prompt is trained through KerasHub's layers")
    with tempfile.TemporaryDirectory() as directory:
        preset = write_small(Path(directory) / "t5_1.1_small")
        steps = {name: step_of(preset, "checkpointing" in name, **settings) for name, settings in FORMS.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(arguments.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if k >= 2:
                milliseconds[name].append(1000 * (time.perf_counter() - start))
    print("| T5 1.1 Small from a preset | ms a step, median (quartiles) |\n|---|---|")
    for name, found in milliseconds.items():
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"| {name} | {middle:.0f} ({low:.0f} to {high:.0f}) |")


def write_small(directory: Path) -> Path:
    """Write a preset of random weights in the shape of T5 1.1 Small, with the settings of KerasHub's converter."""
    keras.utils.set_random_seed(1)
    backbone = plain_backbone(32_128, 8, 6, 512, 1024, key_value_dim=64, dropout=0.0, tie_embedding_weights=False)
    write_preset(backbone, sp.load_t5("mini").tokenizer.proto, directory, dtype="float32")
    config = json.loads((directory / "config.json").read_text())
    config["config"].update(dropout=0.1, activation="gelu")
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def step_of(preset: Path, has_checkpointing: bool, **settings: object) -> Callable[[], object]:
    """Return one step of SGD on a prompt of 20."""
    t5 = sp.load_t5(preset, **settings)
    model = sp.PromptedT5(t5, sp.prompt_tuning(PROMPT, sp.init.from_array(inputs.prompt(PROMPT, t5.hidden_dim))))
    model.compile(
        optimizer=keras.optimizers.SGD(0.1), loss=sp.TargetCrossEntropy(), gradient_checkpointing=has_checkpointing
    )
    ids = inputs.source(ROWS, LENGTH).astype(np.int32)
    targets = inputs.targets(ROWS, TARGETS).astype(np.int32)
    tokens = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": np.ones_like(ids),
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": np.ones_like(targets),
    }
    return lambda: model.train_on_batch(tokens, targets)


if __name__ == "__main__":
    main()
