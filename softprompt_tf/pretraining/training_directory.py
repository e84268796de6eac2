"""Pretrain or adapt a T5 in a run directory, and write its preset.

Both go on where they were stopped when they are called again with the same settings on the same directory.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5, load_t5, write_preset
from softprompt_tf.backbones.tokenization.piece_model import NUM_SENTINELS
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.new_files import check_no_others
from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import Batch, Mixture, PretrainingBatches
from softprompt_tf.pretraining.bits_per_byte import MeasuredText, cut_windows
from softprompt_tf.pretraining.corpus import Corpus, Source, draw_documents, load_corpora
from softprompt_tf.pretraining.corpus_tokenizer import corpus_tokenizer, without_rules
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.pretrainer import STATE, Pretrainer, PretrainingRun
from softprompt_tf.pretraining.ranges import check_least
from softprompt_tf.pretraining.trained_t5 import check_all_can_train, first_sentinel
from softprompt_tf.pretraining.vocabulary import read_vocabulary, train_vocabulary
from softprompt_tf.settings.setting_changes import setting_changes
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.shown_numbers import counted

HELD_OUT_BATCHES = 8
_PRESET = "preset"
_MAX_VOCABULARY_DOCUMENTS = 60_000


def pretrain(
    texts: Sequence[tuple[str, Source]],
    output: str | Path,
    run: PretrainingRun,
    *,
    mixture: Mixture,
    shape: BackboneShape | None = None,
    vocabulary: str | Path | None = None,
    kind_weights: Mapping[str, float] | None = None,
    max_documents: int | None = None,
    measure_text: Source | None = None,
    measure_documents: int = 200,
    strategy: tf.distribute.Strategy | None = None,
) -> Path:
    """Train a T5 1.1 from nothing.

    Args:
      texts: `(kind, source)` pairs, as `load_corpora` takes them.
      output: the run directory.
      run: steps, rate and seed.
      mixture: the objectives and their shares.
      shape: of the model. Default: that of the bundled backbone, 10.5 M parameters.
      vocabulary: a SentencePiece model whose first pieces are padding, end of sequence and unknown. Default: one is trained
        on the texts, of as many pieces as the shape has rows besides 100 sentinels.
      kind_weights: how often each kind of text is drawn, relative to 1.
      max_documents: of each source, only the first so many are read.
      measure_text: a text that is not trained on, as `read_documents` takes it: whenever held-out loss is measured, its bits
        per byte are too (`bits_per_byte`, in float32, windows as long as those of the mixture).
      measure_documents: how many of its documents are drawn for that, always the same ones.
      strategy: a `tf.distribute` strategy. Default: one device.

    Returns:
      The preset directory, `output/preset`, as `load_t5` reads it.

    Raises:
      ConfigError: if `kind_weights` names no kind of the texts, or leaves none.
      DataError: if a text is missing or holds no document, or the vocabulary is missing or unfit.
      TrainingError: if `output` holds a run of other settings or texts, or a preset without the state of its run; or another
        process is using it.
    """
    output, shape = Path(output), shape or BackboneShape()
    # Besides the sentinels: padding, end of sequence, unknown, and a piece.
    check_least(NUM_SENTINELS + 4, vocabulary_size=shape.vocabulary_size)
    _check_kinds([kind for kind, _ in texts], kind_weights or {})
    measured = _measured_documents(measure_text, measure_documents)
    train, held_out = load_corpora(texts, max_documents=max_documents)
    with locked(output, error_type=TrainingError):
        proto = _vocabulary(output / "vocabulary.spm", train, shape, run.seed, given=vocabulary)
        settings = {
            "from": "nothing",
            "shape": asdict(shape),
            **_settings(texts, (train, held_out), run, mixture, kind_weights),
        }
        _check_settings(output / "settings.json", settings)
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            backbone = build_backbone(shape, dtype="float32", seed=run.seed)
        trainer = Pretrainer(backbone, run, output, strategy=strategy)
        sentinel = shape.vocabulary_size - 1
        return _train(trainer, (train, held_out), measured, proto, mixture, kind_weights, first_sentinel=sentinel)


def adapt(
    source: str | Path | FrozenT5,
    texts: Sequence[tuple[str, Source]],
    output: str | Path,
    run: PretrainingRun,
    *,
    mixture: Mixture,
    kind_weights: Mapping[str, float] | None = None,
    max_documents: int | None = None,
    measure_text: Source | None = None,
    measure_documents: int = 200,
    strategy: tf.distribute.Strategy | None = None,
) -> Path:
    """Continue training a pretrained T5, with the LM objective as Lester et al. 2021 did or with any mixture.

    Args:
      source: what `load_t5` takes, or what it gave with float32 weights; that one's backbone is trained in place.
      texts, output, run, mixture, kind_weights, max_documents, measure_text, measure_documents, strategy: as for
        `pretrain`.

    Returns:
      The preset directory, `output/preset`.

    Raises:
      BackboneError: if the backbone cannot be loaded, not all of its weights can be trained, or span corruption is trained
        and it has not T5's sentinels.
      DataError: if a text is missing or holds no document.
      TrainingError: if `output` holds a run of other settings or texts, or a preset without the state of its run; or another
        process is using it.
    """
    output = Path(output)
    _check_kinds([kind for kind, _ in texts], kind_weights or {})
    measured = _measured_documents(measure_text, measure_documents)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        t5 = source if isinstance(source, FrozenT5) else load_t5(source, dtype="float32")
    check_all_can_train(t5)
    sentinel = first_sentinel(t5) if mixture.span_corruption else t5.vocabulary_size - 1
    corpora = load_corpora(texts, max_documents=max_documents)
    with locked(output, error_type=TrainingError):
        settings = {"from": t5.fingerprint, **_settings(texts, corpora, run, mixture, kind_weights)}
        _check_settings(output / "settings.json", settings)
        trainer = Pretrainer(t5.backbone, run, output, strategy=strategy)
        return _train(trainer, corpora, measured, t5.tokenizer.proto, mixture, kind_weights, first_sentinel=sentinel)


def _train(
    trainer: Pretrainer,
    corpora: tuple[Corpus, Corpus],
    measured: Sequence[str],
    proto: bytes,
    mixture: Mixture,
    kind_weights: Mapping[str, float] | None,
    *,
    first_sentinel: int,
) -> Path:
    """Run a trainer to its last step and write the preset."""
    train, held_out = corpora
    tokenizer = corpus_tokenizer(proto, num_rows=trainer.backbone.vocabulary_size)
    windows = cut_windows(measured, without_rules(tokenizer), window=mixture.window) if measured else []
    print(f"{counted(train.num_documents, 'document')} to train on, {held_out.num_documents:,} held out", flush=True)
    print("going on" if trainer.load_state() else "starting", "at step", trainer.step, flush=True)
    if trainer.step >= trainer.run.steps:
        print(
            "this run was finished before: nothing is trained. For more, raise its steps or start a new run", flush=True
        )

    def batches_of(corpus: Corpus) -> PretrainingBatches:
        source = PassageSource(corpus, dict(kind_weights or {}))
        return PretrainingBatches(source, tokenizer, mixture, first_sentinel=first_sentinel, seed=trainer.run.seed)

    # Of the kinds that are drawn, none may have enough documents for one that is held out.
    can_measure = any((kind_weights or {}).get(kind, 1.0) > 0 for kind in held_out.kinds)
    fixed_batches = _fixed_batches(batches_of(held_out), mixture) if can_measure else {}
    text = MeasuredText(trainer.backbone, without_rules(tokenizer), windows) if windows else None
    trainer.fit(batches_of(train), fixed_batches, text)
    preset = trainer.directory / _PRESET
    write_preset(trainer.backbone, proto, preset)
    print(f"wrote {preset}", flush=True)
    return preset


def _fixed_batches(batches: PretrainingBatches, mixture: Mixture) -> dict[str, list[Batch]]:
    """Return the batches that every objective in use is measured on, the same at every start."""
    rng = np.random.default_rng(0)
    return {
        objective: [batches.batch_of(objective, rng) for _ in range(HELD_OUT_BATCHES)]
        for objective, share in zip(*mixture.objectives, strict=True)
        if share > 0
    }


def _check_kinds(kinds: Sequence[str], weights: Mapping[str, float]) -> None:
    """Refuse weights of kinds that no text is of, which would change nothing, and weights that leave no text."""
    unknown = next((kind for kind in weights if kind not in kinds), None)
    if unknown is not None:
        raise ConfigError(f"A weight must be of a kind of text. Received: {unknown!r}.{nearest(unknown, set(kinds))}")
    if not any(weights.get(kind, 1.0) > 0 for kind in kinds):
        raise ConfigError(f"At least one kind of text must have a weight above 0. Received: {dict(weights)}.")


def _measured_documents(source: Source | None, count: int) -> list[str]:
    return [] if source is None else draw_documents(source, count)


def _vocabulary(path: Path, corpus: Corpus, shape: BackboneShape, seed: int, *, given: str | Path | None) -> bytes:
    """Return the run's vocabulary, taken over or trained at the first start."""
    if not path.is_file():
        documents = (document for kind in corpus.documents for document in kind)
        num_pieces = shape.vocabulary_size - NUM_SENTINELS
        if given is not None:
            proto = read_vocabulary(given, max_pieces=num_pieces)
        else:
            proto = train_vocabulary(
                documents, num_pieces=num_pieces, max_documents=_MAX_VOCABULARY_DOCUMENTS, seed=seed
            )
        write_atomically(path, proto, error_type=TrainingError)
    kept = path.read_bytes()
    if given is not None and Path(given).read_bytes() != kept:
        raise TrainingError(
            f"A run goes on with the vocabulary that it was started with, {path}. Received: {given}, which differs. "
            "Leave the option out, or choose another directory to start a new run."
        )
    return kept


def _settings(
    texts: Sequence[tuple[str, Source]],
    corpora: tuple[Corpus, Corpus],
    run: PretrainingRun,
    mixture: Mixture,
    kind_weights: Mapping[str, float] | None,
) -> dict[str, object]:
    """Return what decides the batches and the steps, apart from what may change as a run goes on."""
    sources = [str(source) if isinstance(source, str | Path) else type(source).__name__ for _, source in texts]
    return {
        "texts": [[kind, source] for (kind, _), source in zip(texts, sources, strict=True)],
        "documents": [len(documents) for documents in corpora[0].documents],
        "texts_digest": _digest(corpora),
        "kind_weights": dict(kind_weights or {}),
        # Weights of tasks only where some are chosen: the settings of a run from before there were any hold none.
        "mixture": {name: value for name, value in asdict(mixture).items() if value != {}},
        "run": run.fixed,
    }


def _digest(corpora: Sequence[Corpus]) -> str:
    """Return a text that differs where the documents do."""
    digest = hashlib.sha256()
    for corpus in corpora:
        for kind, documents in zip(corpus.kinds, corpus.documents, strict=True):
            for text in (kind, *documents):
                digest.update(f"{len(text)}\n{text}".encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def _check_settings(path: Path, settings: dict[str, object]) -> None:
    """Keep the settings of a new run; refuse to go on with others than a run was started with.

    A new run is refused, too, where the preset of one is whose state was deleted.
    """
    if not (path.parent / STATE).exists():
        check_no_others(path.parent, [_PRESET], error_type=TrainingError)
    content = json.dumps(settings, indent=2) + "\n"
    if not path.is_file():
        write_atomically(path, content.encode("utf-8"), error_type=TrainingError)
        return
    kept, received = json.loads(path.read_text("utf-8")), json.loads(content)
    digest = received.pop("texts_digest")
    old_digest = kept.pop("texts_digest", digest)  # a run from before there were digests has none
    changes = setting_changes(kept, received)
    if digest != old_digest:
        changes.append(f"the content of the texts has digest {digest[:12]}, it was {old_digest[:12]}")
    if changes:
        raise TrainingError(
            f"A run goes on with the settings that it was started with. Received: {'; '.join(changes)} in {path}. "
            "Take back the change, or choose another directory to start a new run."
        )
