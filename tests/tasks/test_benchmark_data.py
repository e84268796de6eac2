"""The shipped benchmark tasks on real rows: how many there are, their labels, and the same rows whether from SuperGLUE's files or
from TFDS. Nothing is downloaded: TFDS's own code reads the files that lie here, or makes rows up."""

import dataclasses
from collections import Counter

import pytest
import tensorflow as tf

from softprompt_tf.tasks import SUPERGLUE_TASKS, load_task

pytestmark = pytest.mark.thorough

TFDS_NAMES = {name: name.replace("superglue_", "super_glue/").replace("wsc", "wsc.fixed") for name in SUPERGLUE_TASKS}

# (task, split) -> (rows, label word -> share of them in thousandths); BoolQ's train split and ReCoRD are parts.
COUNTS = {
    ("superglue_boolq", "train"): (1_933, {"True": 624, "False": 376}),
    ("superglue_boolq", "validation"): (3_270, {"True": 622, "False": 378}),
    ("superglue_cb", "train"): (250, {"contradiction": 476, "entailment": 460, "neutral": 64}),
    ("superglue_cb", "validation"): (56, {"contradiction": 500, "entailment": 411, "neutral": 89}),
    ("superglue_copa", "train"): (400, {"choice2": 512, "choice1": 488}),
    ("superglue_copa", "validation"): (100, {"choice1": 550, "choice2": 450}),
    ("superglue_multirc", "train"): (27_243, {"False": 559, "True": 441}),
    ("superglue_multirc", "validation"): (4_848, {"False": 572, "True": 428}),
    ("superglue_record", "train"): (44, {}),
    ("superglue_record", "validation"): (32, {}),
    ("superglue_rte", "train"): (2_490, {"entailment": 502, "not_entailment": 498}),
    ("superglue_rte", "validation"): (277, {"entailment": 527, "not_entailment": 473}),
    ("superglue_wic", "train"): (5_428, {"False": 500, "True": 500}),
    ("superglue_wic", "validation"): (638, {"False": 500, "True": 500}),
    ("superglue_wsc", "train"): (259, {}),
    ("superglue_wsc", "validation"): (104, {}),
    ("glue_sst2", "validation"): (872, {"positive": 509, "negative": 491}),
    ("glue_cola", "train"): (8_551, {"acceptable": 704, "unacceptable": 296}),
    ("glue_cola", "validation"): (1_043, {"acceptable": 691, "unacceptable": 309}),
    ("glue_mrpc", "train"): (3_667, {"equivalent": 674, "not_equivalent": 326}),
    ("glue_mrpc", "validation"): (408, {"equivalent": 684, "not_equivalent": 316}),
    ("glue_qqp", "validation"): (1_000, {"not_duplicate": 623, "duplicate": 377}),
    ("glue_rte", "validation"): (277, {"entailment": 527, "not_entailment": 473}),
    ("squad", "train"): (8_149, {}),
    ("squad", "validation"): (2_085, {}),
    ("qa_squadshifts_new_wiki", "test"): (7_938, {}),
    ("qa_squadshifts_amazon", "test"): (1_000, {}),
    ("qa_squadshifts_reddit", "test"): (1_000, {}),
    ("qa_policyqa", "test"): (1_000, {}),
    ("qa_subjqa", "test"): (1_000, {}),
    ("qa_bioasq_factoid", "test"): (1_000, {}),
}


@pytest.fixture
def shipped(monkeypatch, pytestconfig):
    """Return the shipped task of a name; its sources need not exist."""
    monkeypatch.setenv("SOFTPROMPT_DATA", "/nowhere")
    return lambda name: load_task(pytestconfig.rootpath / f"configs/tasks/{name}.yaml")


@pytest.fixture
def with_data(shipped, shared_data, monkeypatch):
    """Likewise, with its sources among the public data sets."""
    monkeypatch.setenv("SOFTPROMPT_DATA", str(shared_data))
    return shipped


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_real_rows_are_as_many_as_known_and_so_are_their_labels(with_data, name, split):
    rows, shares = COUNTS[name, split]

    examples = with_data(name).examples(split)

    counts = Counter(example.label for example in examples if example.label)
    assert len(examples) == rows
    assert {word: round(1_000 * count / rows) for word, count in counts.items()} == shares
    assert all(example.right_answers for example in examples)


@pytest.mark.shared_data
@pytest.mark.parametrize(("split", "questions"), [("train", 5_131), ("validation", 953)])
def test_multirc_has_a_group_per_question_whether_by_passage_and_question_or_by_question(with_data, split, questions):
    groups = {example.group for example in with_data("superglue_multirc").examples(split)}

    assert len(groups) == questions
    assert len({question for _, question in groups}) == questions  # so T5's grouping comes to the same on this release


@pytest.mark.shared_data
def test_wsc_marks_one_pronoun_in_every_row_and_finds_most_referents(with_data):
    examples = with_data("superglue_wsc").examples("validation")

    assert all(f"*{example.row.values['pronoun']}*" in example.inputs for example in examples)
    assert all(example.inputs.count("*") == 2 for example in examples)
    assert all(example.target in example.inputs.replace("*", "") for example in examples)


def from_files(builder, path, split):
    """Return what TFDS's builder makes of a file of SuperGLUE's archive, as `as_dataset` would."""
    rows = [row for _, row in builder._generate_examples(str(path), split)]
    if "label" in builder.info.features:
        number = builder.info.features["label"].str2int
        rows = [{**row, "label": number(row["label"])} for row in rows]
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=builder.info.features.get_tensor_spec())


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SUPERGLUE_TASKS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_tfds_gives_the_same_examples_as_the_archives_files(with_data, shared_data, monkeypatch, name, split):
    tfds = pytest.importorskip("tensorflow_datasets")
    task = with_data(name)
    path = shared_data / "superglue" / name.removeprefix("superglue_") / f"{split}.jsonl"
    real_builder = tfds.builder

    def local_builder(data_set):
        builder = real_builder(data_set)
        builder.download_and_prepare = lambda: None
        builder.as_dataset = lambda split, shuffle_files: from_files(builder, path, split)
        return builder

    monkeypatch.setattr(tfds, "builder", local_builder)
    expected = task.examples(split, limit=400)
    examples = dataclasses.replace(task, **{split: TFDS_NAMES[name]}).examples(split, limit=400)

    def seen(example):
        return (example.inputs, example.target, example.right_answers, example.group)

    assert [seen(example) for example in examples] == [seen(example) for example in expected]


MOCKED = {
    **{name: source for name, source in TFDS_NAMES.items() if name != "superglue_wsc"},
    "glue_sst2": "glue/sst2",
    "glue_cola": "glue/cola",
    "glue_rte": "glue/rte",
    "glue_qqp": "glue/qqp",
    "glue_mnli_matched": "glue/mnli@validation_matched",
    "glue_mnli_mismatched": "glue/mnli@validation_mismatched",
    "squad": "squad",
    "cnn_dailymail": "cnn_dailymail",
    **{
        f"mrqa_{name}": f"mrqa/{name}"
        for name in ("bio_asq", "drop", "duo_rc", "race", "relation_extraction", "textbook_qa")
    },
}


@pytest.mark.parametrize(("name", "source"), MOCKED.items())
def test_rows_of_tfdss_features_become_examples(shipped, name, source):
    tfds = pytest.importorskip("tensorflow_datasets")
    split = "test" if name.startswith("mrqa_") else "validation"
    task = dataclasses.replace(shipped(name), columns=None, **{split: source})

    with tfds.testing.mock_data(num_examples=2):
        examples = task.examples(split)

    assert len(examples) == 2
    assert all(example.target and example.inputs for example in examples)
    assert not task.labels or {example.label for example in examples} <= set(task.label_words)


def test_wsc_rows_of_tfdss_features_become_examples(shipped):
    tfds = pytest.importorskip("tensorflow_datasets")
    row = {
        "text": "Ann saw it .",
        "span1_text": "Ann",
        "span1_index": 0,
        "span2_text": "it",
        "span2_index": 2,
        "idx": 5,
    }
    task = dataclasses.replace(
        shipped("superglue_wsc"), train="super_glue/wsc.fixed", validation="super_glue/wsc.fixed"
    )

    def rows_of_the_spec(self, *_, **__):
        rows = [{**row, "label": 1}, {**row, "label": 0}]
        return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=self.info.features.get_tensor_spec())

    with tfds.testing.mock_data(as_dataset_fn=rows_of_the_spec):
        train, validation = task.examples("train"), task.examples("validation")

    assert [(example.inputs, example.target) for example in train] == [("wsc: Ann saw *it* .", "Ann")]
    assert [example.right_answers for example in validation] == [("True",), ("False",)]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["squad", "qa_policyqa", "qa_squadshifts_reddit"])
def test_question_answering_texts_are_padded_as_by_re2(with_data, name):
    task = with_data(name)
    split = "test" if task.validation is None else "validation"
    plain = dataclasses.replace(task, preprocess=("squad",)).examples(split, limit=300)

    padded = task.examples(split, limit=300)

    def by_re2(texts):
        spaced = tf.strings.regex_replace(texts, r"(\W)", r" \1 ")
        return [text.decode().strip(" ") for text in tf.strings.regex_replace(spaced, r"\s+", " ").numpy().tolist()]

    fields = [[example.row.values[key] for example in plain] for key in ("question", "context")]
    inputs = [
        f"question: {question} context: {context}" for question, context in zip(*map(by_re2, fields), strict=True)
    ]
    assert [example.inputs for example in padded] == inputs
    assert [list(example.right_answers) for example in padded] == [by_re2(list(each.right_answers)) for each in plain]
    assert any(one.inputs != other.inputs for one, other in zip(plain, padded, strict=True))
