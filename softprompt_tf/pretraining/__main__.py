"""`python -m softprompt_tf.pretraining`: make a small T5 1.1 from text files, from the vocabulary to the preset directory."""

import argparse
from pathlib import Path

import numpy as np
import sentencepiece

from softprompt_tf.pretraining.batches import Mixture, PretrainingBatches
from softprompt_tf.pretraining.corpus import Corpus, load_corpora
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.pretrain import BackboneShape, Pretrainer, PretrainingRun, build_backbone, write_preset
from softprompt_tf.pretraining.vocabulary import train_vocabulary

NUM_SENTINELS = 100
HELD_OUT_BATCHES = 8


def main() -> None:
    """Read the command line, then train the vocabulary and the model, or go on where the last start ended."""
    parser = argparse.ArgumentParser(prog="python -m softprompt_tf.pretraining", description=__doc__)
    parser.add_argument(
        "--text", action="append", required=True, metavar="KIND=FILE", help="one document a line; .xz, .gz"
    )
    parser.add_argument(
        "--weight", action="append", default=[], metavar="KIND=WEIGHT", help="how often a kind is drawn"
    )
    parser.add_argument("--output", required=True, type=Path, help="run directory; OUTPUT/preset is the result")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--cooldown-steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--span-corruption", type=float, default=0.0)
    parser.add_argument("--prefix-lm", type=float, default=0.3)
    parser.add_argument("--instructions", type=float, default=0.7)
    arguments = parser.parse_args()

    train, held_out = load_corpora([tuple(pair.split("=", 1)) for pair in arguments.text])
    print(f"{train.num_documents:,} documents to train on, {held_out.num_documents:,} held out", flush=True)
    shape = BackboneShape()
    proto = _vocabulary(arguments.output / "vocabulary.spm", train, shape, arguments.seed)
    weights = {kind: float(weight) for kind, weight in (pair.split("=", 1) for pair in arguments.weight)}
    mixture = Mixture(
        span_corruption=arguments.span_corruption,
        prefix_lm=arguments.prefix_lm,
        instructions=arguments.instructions,
    )
    run = PretrainingRun(steps=arguments.steps, cooldown_steps=arguments.cooldown_steps, seed=arguments.seed)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=proto)
    trainer = Pretrainer(build_backbone(shape, dtype=run.precision, seed=run.seed), run, arguments.output)
    print("going on" if trainer.load_state() else "starting", "at step", trainer.step, flush=True)

    def batches_of(corpus: Corpus) -> PretrainingBatches:
        return PretrainingBatches(
            PassageSource(corpus, weights),
            tokenizer,
            mixture,
            vocabulary_size=shape.vocabulary_size,
            seed=arguments.seed,
        )

    measured = batches_of(held_out)
    rng = np.random.default_rng(0)
    fixed = {
        objective: [measured.batch_of(objective, rng) for _ in range(HELD_OUT_BATCHES)]
        for objective, share in zip(*mixture.objectives, strict=True)
        if share > 0
    }
    trainer.fit(batches_of(train), fixed)
    write_preset(trainer.backbone, proto, arguments.output / "preset")
    print(f"wrote {arguments.output / 'preset'}", flush=True)


def _vocabulary(path: Path, corpus: Corpus, shape: BackboneShape, seed: int) -> bytes:
    """Return the run's vocabulary, trained at the first start."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        documents = (document for kind in corpus.documents for document in kind)
        path.write_bytes(
            train_vocabulary(
                documents, num_pieces=shape.vocabulary_size - NUM_SENTINELS, max_documents=60_000, seed=seed
            )
        )
    return path.read_bytes()


if __name__ == "__main__":
    main()
