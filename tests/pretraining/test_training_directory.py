"""Pretraining and adaptation by one call each: what the run directory holds, and what a second call may change."""

import json
import math

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from sentinel_t5 import make_sentinel_t5
from tiny_t5 import make_tiny_t5, tiny_vocabulary

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.tokenization.text_rules import AddedToken, TextRules, with_rules
from softprompt_tf.errors import BackboneError, TrainingError
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.pretraining import training_directory
from softprompt_tf.pretraining.backbone import BackboneShape
from softprompt_tf.pretraining.batches import Mixture
from softprompt_tf.pretraining.bits_per_byte import cut_windows
from softprompt_tf.pretraining.corpus import draw_documents
from softprompt_tf.pretraining.pretrainer import PretrainingRun
from softprompt_tf.pretraining.training_directory import adapt, pretrain

pytestmark = pytest.mark.thorough

SHAPE = BackboneShape(
    vocabulary_size=180, hidden_dim=8, intermediate_dim=12, num_layers=1, num_heads=2, key_value_dim=4
)
SPANS = Mixture(span_corruption=1.0, prefix_lm=0.0, instructions=0.0, rows=4, window=24)
PREFIXES = Mixture(span_corruption=0.0, prefix_lm=1.0, instructions=0.0, rows=4, window=24)
RUN = PretrainingRun(steps=1, warmup_steps=1, cooldown_steps=1, precision="float32")


@pytest.fixture(scope="module")
def texts(corpus):
    return [(kind, documents * 6) for kind, documents in zip(corpus.kinds, corpus.documents, strict=True)]


@pytest.fixture(scope="module")
def pretrained(texts, vocabulary, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pretrained")
    (directory / "given.spm").write_bytes(vocabulary)
    run = directory / "run"
    pretrain(texts, run, RUN, mixture=SPANS, shape=SHAPE, vocabulary=directory / "given.spm")
    return run


def weights_of(t5):
    return [keras.ops.convert_to_numpy(weight) for weight in t5.backbone.weights]


def test_run_directory_holds_the_state_the_log_the_settings_the_vocabulary_and_the_preset(pretrained, vocabulary):
    names = {path.name for path in pretrained.iterdir()}

    assert names == {"state.safetensors", "log.jsonl", "settings.json", "vocabulary.spm", "preset"}
    assert (pretrained / "vocabulary.spm").read_bytes() == vocabulary
    assert load_t5(pretrained / "preset").vocabulary_size == 180


def test_first_sentinel_stands_99_above_the_pieces(pretrained):
    t5 = load_t5(pretrained / "preset")

    assert t5.sentinel_id(0) == 80 + 99 == SHAPE.vocabulary_size - 1


def test_adaptation_starts_at_the_weights_that_it_is_given(pretrained, texts, tmp_path):
    no_steps = PretrainingRun(steps=0, precision="float32")

    preset = adapt(pretrained / "preset", texts, tmp_path, no_steps, mixture=PREFIXES)

    for value, expected in zip(weights_of(load_t5(preset)), weights_of(load_t5(pretrained / "preset")), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_adaptation_moves_every_weight_and_keeps_the_vocabulary(pretrained, texts, tmp_path):
    preset = adapt(pretrained / "preset", texts, tmp_path, RUN, mixture=PREFIXES)

    before, after = load_t5(pretrained / "preset"), load_t5(preset)
    assert after.tokenizer_fingerprint == before.tokenizer_fingerprint
    for old, new in zip(weights_of(before), weights_of(after), strict=True):
        assert np.abs(new - old).max() > 0


def test_adaptation_reads_texts_as_the_t5_does(texts, tmp_path, monkeypatch):
    t5 = make_sentinel_t5(with_rules(tiny_vocabulary(), TextRules(steps=(("lower",),))))
    used = []
    make = training_directory.PretrainingBatches
    monkeypatch.setattr(
        training_directory,
        "PretrainingBatches",
        lambda source, tokenizer, *args, **how: used.append(tokenizer) or make(source, tokenizer, *args, **how),
    )

    adapt(t5, texts, tmp_path, RUN, mixture=PREFIXES)

    (small,) = t5.tokenize(["the old miller"])
    assert used
    assert all(tokenizer.encode("THE Old Miller") == small for tokenizer in used)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_t5_whose_weights_a_step_would_not_move_is_refused(dtype, texts, tmp_path):
    t5 = make_tiny_t5("bfloat16" if dtype == "bfloat16" else "float32", num_layers=1)
    if dtype == "int8":
        t5.quantize("int8")

    with pytest.raises(BackboneError, match=f"Training all weights needs .* {dtype}"):
        adapt(t5, texts, tmp_path / "run", RUN, mixture=PREFIXES)

    assert not (tmp_path / "run" / "settings.json").exists()


def test_a_t5_without_sentinels_is_adapted_where_none_are_needed(texts, tmp_path):
    t5 = make_tiny_t5(num_layers=1)  # 128 rows: no room for a hundred behind 120 pieces

    preset = adapt(t5, texts, tmp_path / "prefixes", RUN, mixture=PREFIXES)

    assert preset.is_dir()
    with pytest.raises(BackboneError, match="must have a row for sentinel <extra_id_0>"):
        adapt(t5, texts, tmp_path / "spans", RUN, mixture=SPANS)


def test_sentinels_that_count_up_are_refused_for_span_corruption(texts, tmp_path):
    sentinels = tuple(AddedToken(f"<extra_id_{k}>", 120 + k) for k in range(100))
    t5 = make_sentinel_t5(with_rules(tiny_vocabulary(), TextRules(added=sentinels)))

    with pytest.raises(BackboneError, match="<extra_id_0> with id 120 and <extra_id_1> with id 121"):
        adapt(t5, texts, tmp_path, RUN, mixture=SPANS)


def test_text_may_come_from_tf_data(pretrained, corpus, tmp_path):
    lines = [document for documents in corpus.documents for document in documents]
    data = tf.data.Dataset.from_tensor_slices(lines)

    adapt(pretrained / "preset", [("text", data)], tmp_path, RUN, mixture=PREFIXES)

    assert json.loads((tmp_path / "settings.json").read_text())["documents"] == [len(lines)]


def test_too_little_text_for_held_out_documents_still_trains(pretrained, corpus, tmp_path):
    run = PretrainingRun(steps=1, warmup_steps=1, cooldown_steps=1, log_every=1, measure_every=1, precision="float32")

    adapt(pretrained / "preset", [("text", corpus.documents[0])], tmp_path, run, mixture=PREFIXES)

    (line,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert "loss" in line


def test_held_out_documents_of_kinds_that_are_left_out_are_not_measured(pretrained, corpus, tmp_path):
    long, short = corpus.documents[0], corpus.documents[1]
    enough = [*long] * (200 // len(long) + 1)  # every 200th document is held out
    texts = [("left out", enough), ("trained on", short)]

    adapt(pretrained / "preset", texts, tmp_path, RUN, mixture=PREFIXES, kind_weights={"left out": 0.0})

    assert not (tmp_path / "log.jsonl").exists()  # nothing was measured
    assert (tmp_path / "preset").is_dir()


def test_bits_per_byte_of_a_text_are_logged_from_the_start_on(pretrained, corpus, tokenizer, tmp_path):
    measured, run = (
        list(corpus.documents[1]),
        PretrainingRun(steps=1, warmup_steps=1, peak_learning_rate=0.2, precision="float32"),
    )

    adapt(
        pretrained / "preset",
        [("text", corpus.documents[0])],
        tmp_path,
        run,
        mixture=PREFIXES,
        measure_text=measured,
        measure_documents=3,
    )

    start, end = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert (start["step"], end["step"]) == (0, 1)
    windows = cut_windows(draw_documents(measured, 3, seed=1), tokenizer, window=PREFIXES.window)
    nats = numpy_t5.window_nats(numpy_t5.read_weights(load_t5(pretrained / "preset").backbone), windows)
    bits_per_byte = nats / math.log(2) / sum(window.num_bytes for window in windows)
    assert start["bits_per_byte"] == pytest.approx(bits_per_byte, abs=2e-4)
    assert math.isfinite(end["bits_per_byte"])
    assert end["bits_per_byte"] != start["bits_per_byte"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": PretrainingRun(steps=1, seed=2, precision="float32")}, "`run.seed` is 2, it was 1"),
        (
            {"mixture": PREFIXES},
            r"`mixture.span_corruption` is 0\.0, it was 1\.0; `mixture.prefix_lm` is 1\.0, it was 0\.0",
        ),
        ({"max_documents": 30}, r"`documents` is \[30, 30\], it was \[239, 239\]"),
    ],
)
def test_other_settings_on_the_same_directory_are_refused(pretrained, texts, change, message):
    settings = {"run": RUN, "mixture": SPANS, **change}

    with pytest.raises(TrainingError, match=message):
        pretrain(texts, pretrained, shape=SHAPE, **settings)


def test_texts_of_another_content_are_refused(pretrained, texts):
    (kind, documents), *others = texts
    corrected = [(kind, (documents[0].replace("e", "E"), *documents[1:])), *others]

    with pytest.raises(TrainingError, match="Received: the content of the texts has digest .*, it was"):
        pretrain(corrected, pretrained, RUN, mixture=SPANS, shape=SHAPE)


def test_another_vocabulary_is_refused(pretrained, texts, tmp_path):
    (tmp_path / "other.spm").write_bytes((pretrained / "vocabulary.spm").read_bytes() + b"x")

    with pytest.raises(TrainingError, match=r"with the vocabulary that it was started with.*other.spm, which differs"):
        pretrain(texts, pretrained, RUN, mixture=SPANS, shape=SHAPE, vocabulary=tmp_path / "other.spm")


def test_a_directory_in_use_is_refused(pretrained, texts):
    with locked(pretrained, error_type=TrainingError), pytest.raises(TrainingError, match="one process at a time"):
        adapt(pretrained / "preset", texts, pretrained, RUN, mixture=PREFIXES)


def test_a_finished_run_may_be_called_again_and_says_that_nothing_is_trained(pretrained, texts, capsys):
    before = (pretrained / "state.safetensors").read_bytes()

    preset = pretrain(texts, pretrained, RUN, mixture=SPANS, shape=SHAPE)

    assert "finished before: nothing is trained" in capsys.readouterr().out
    assert preset == pretrained / "preset"
    assert (pretrained / "state.safetensors").read_bytes() == before


def test_a_preset_without_the_state_of_its_run_is_not_written_over(pretrained, texts, tmp_path):
    state = (pretrained / "state.safetensors").rename(tmp_path / "state")
    log = (pretrained / "log.jsonl").read_bytes()

    try:
        with pytest.raises(TrainingError, match=r"must not write over other work\. Received: .*preset, which exists"):
            pretrain(texts, pretrained, RUN, mixture=SPANS, shape=SHAPE)
    finally:
        state.rename(pretrained / "state.safetensors")

    assert (pretrained / "log.jsonl").read_bytes() == log
