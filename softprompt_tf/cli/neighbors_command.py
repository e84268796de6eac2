"""`softprompt neighbors`: print the pieces of the vocabulary that are nearest to each row of a prompt."""

import argparse

from softprompt_tf.backbones.backbone_option import add_backbone_option, backbone_of
from softprompt_tf.settings.spelling import check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("prompt", help="a prompt file")
    parser.add_argument("--count", type=int, default=5, help="pieces per row")
    add_backbone_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each row, with cosines.

    Raises:
      SoftPromptError: for a mistake in the file, or a backbone that it does not fit.
    """
    check_files([arguments.prompt])
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.methods import load_prompt, nearest_neighbours
    from softprompt_tf.model.task_method import check_fits

    prompt = load_prompt(arguments.prompt)
    rows = prompt.prompt
    t5 = load_t5(arguments.backbone or backbone_of(prompt))
    check_fits(prompt, t5)
    pieces = t5.tokenizer.get_vocabulary()
    ids, cosines = nearest_neighbours(rows, t5.embedding_table[: len(pieces)], count=arguments.count)
    for row, (row_ids, row_cosines) in enumerate(zip(ids, cosines, strict=True)):
        near = "  ".join(f"{pieces[i]} {cosine:.2f}" for i, cosine in zip(row_ids, row_cosines, strict=True))
        print(f"{row:4d}  {near}")
