"""Make a preset of the weights that an accelerator sent back: `python -m benchmarks.accelerator.read_back PARTS PRESET`."""

import argparse
from pathlib import Path

from benchmarks.accelerator.weight_parts import read_parts
from softprompt_tf import load_t5
from softprompt_tf.backbones import write_preset


def read_back(parts: Path, preset: Path) -> dict[str, str]:
    """Write the preset, of mini's form and vocabulary; return what the parts say of themselves.

    Raises:
      ValueError: if parts are missing, or the weights are not of mini's shapes.
    """
    weights, metadata = read_parts(parts)
    t5 = load_t5("mini")
    for variable, value in zip(t5.backbone.weights, weights, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"{variable.path} must have the shape {tuple(variable.shape)}. Received: {value.shape}.")
        variable.assign(value.astype("float32"))
    write_preset(t5.backbone, t5.tokenizer.proto, preset)
    return metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", type=Path, help="the directory of weights_*.safetensors")
    parser.add_argument("preset", type=Path, help="the directory to write")
    arguments = parser.parse_args()
    print(f"{arguments.preset}: {read_back(arguments.parts, arguments.preset)}")


if __name__ == "__main__":
    main()
