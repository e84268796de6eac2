"""`softprompt convert`: a T5 or a prompt from one format to another."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "input",
        help="a Hugging Face, T5X, Mesh TensorFlow or KerasHub T5; or a prompt: .safetensors, .npy, or a folder of PEFT or "
        "AdapterHub",
    )
    parser.add_argument(
        "output", help="a new directory for a backbone; for a prompt a .safetensors or .npy file, or a folder"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="dtype of a T5's stored weights")
    parser.add_argument("--vocabulary", help="a SentencePiece file, for a T5 without one")


def run(arguments: argparse.Namespace) -> None:
    """Print what was written.

    Raises:
      SoftPromptError: as `convert`.
    """
    from softprompt_tf.cli.convert import convert

    print(convert(arguments.input, arguments.output, dtype=arguments.dtype, vocabulary=arguments.vocabulary))
