"""`python -m softprompt_tf.pretraining`: text files in, a run directory with the preset of a small T5 1.1 out."""

import argparse
from pathlib import Path

import numpy as np
import sentencepiece

from softprompt_tf.atomic_file import write_atomically
from softprompt_tf.errors import TrainingError
from softprompt_tf.pretraining.batches import Batch, Mixture, PretrainingBatches
from softprompt_tf.pretraining.corpus import Corpus, load_corpora
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.pretrain import BackboneShape, Pretrainer, PretrainingRun, build_backbone, write_preset
from softprompt_tf.pretraining.vocabulary import train_vocabulary

NUM_SENTINELS = 100
HELD_OUT_BATCHES = 8


def main() -> None:
    """Read the command line, then train the vocabulary and the model, or go on where the last start ended."""
    arguments = _parse_arguments()
    train, held_out = load_corpora(arguments.text)
    print(f"{train.num_documents:,} documents to train on, {held_out.num_documents:,} held out", flush=True)
    shape = BackboneShape()
    proto = _vocabulary(arguments.output / "vocabulary.spm", train, shape, arguments.seed)
    mixture = Mixture(
        span_corruption=arguments.span_corruption,
        prefix_lm=arguments.prefix_lm,
        instructions=arguments.instructions,
    )
    run = PretrainingRun(steps=arguments.steps, cooldown_steps=arguments.cooldown_steps, seed=arguments.seed)
    trainer = Pretrainer(build_backbone(shape, dtype=run.precision, seed=run.seed), run, arguments.output)
    print("going on" if trainer.load_state() else "starting", "at step", trainer.step, flush=True)

    def batches_of(corpus: Corpus) -> PretrainingBatches:
        return PretrainingBatches(
            PassageSource(corpus, {kind: float(weight) for kind, weight in arguments.weight}),
            sentencepiece.SentencePieceProcessor(model_proto=proto),
            mixture,
            vocabulary_size=shape.vocabulary_size,
            seed=arguments.seed,
        )

    trainer.fit(batches_of(train), _fixed_batches(batches_of(held_out), mixture))
    write_preset(trainer.backbone, proto, arguments.output / "preset")
    print(f"wrote {arguments.output / 'preset'}", flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m softprompt_tf.pretraining", description=__doc__)
    parser.add_argument(
        "--text",
        action="append",
        required=True,
        type=_pair,
        metavar="KIND=FILE",
        help="one document a line; plain, .gz or .xz; may be given several times",
    )
    parser.add_argument(
        "--weight",
        action="append",
        default=[],
        type=_pair,
        metavar="KIND=WEIGHT",
        help="how often a kind is drawn, relative to 1",
    )
    parser.add_argument("--output", required=True, type=Path, help="run directory; OUTPUT/preset is the result")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--cooldown-steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--span-corruption", type=float, default=0.0, help="relative weight of the objective")
    parser.add_argument("--prefix-lm", type=float, default=0.3, help="relative weight of the objective")
    parser.add_argument("--instructions", type=float, default=0.7, help="relative weight of the objective")
    return parser.parse_args()


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise argparse.ArgumentTypeError(f"must have the form KIND=VALUE. Received: {text!r}.")
    return key, value


def _fixed_batches(batches: PretrainingBatches, mixture: Mixture) -> dict[str, list[Batch]]:
    """Return the batches that every objective in use is measured on, the same at every start."""
    rng = np.random.default_rng(0)
    return {
        objective: [batches.batch_of(objective, rng) for _ in range(HELD_OUT_BATCHES)]
        for objective, share in zip(*mixture.objectives, strict=True)
        if share > 0
    }


def _vocabulary(path: Path, corpus: Corpus, shape: BackboneShape, seed: int) -> bytes:
    """Return the run's vocabulary, trained at the first start."""
    if not path.is_file():
        documents = (document for kind in corpus.documents for document in kind)
        num_pieces = shape.vocabulary_size - NUM_SENTINELS
        proto = train_vocabulary(documents, num_pieces=num_pieces, max_documents=60_000, seed=seed)
        write_atomically(path, proto, error_type=TrainingError)
    return path.read_bytes()


if __name__ == "__main__":
    main()
