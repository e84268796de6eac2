"""Prompts, prefixes, LoRA, (IA)^3, adapters, MAD-X, DePT and soft words in one SavedModel: rows answer as alone."""

import dataclasses

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from asked_versions import ask_once, asked_ahead
from served_methods import LABELS, module_of, seeing, task_of, twin_and_output

import softprompt_tf as sp
from softprompt_tf.errors import ExportError
from softprompt_tf.export import add_tasks, list_tasks, write_saved_model
from softprompt_tf.export.graph.served_tasks import without_tasks
from softprompt_tf.export.graph.served_texts import _rendered
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.methods.task_tensors import ADAPTERS, FEED_FORWARD_ADAPTERS, INVERTIBLE_ADAPTER, LANGUAGE_ADAPTERS
from softprompt_tf.tasks import Row, Template

pytestmark = pytest.mark.thorough

TEXTS = [
    "a charming film",
    "rain fell on the roof all night long",
    "yes",
    "the soup was warm",
    "an awful mess",
    "seven boats left the harbour",
    "a cold wind came over the hills",
    "two brothers shared one bicycle",
    "the soup was warm, the bread was fresh, the talk was good",  # longer than the offsets
    "no",  # shorter
    "a slow and quiet ending",
    "who knows",
    "{prompt:1} rain fell {prompt:2} on the roof",
    "a film {prompt:9}",
    "nobody sent it",
    "a charming film",
    "rain fell on the roof all night long",
]
ASKED = [
    "front",
    "prefix",
    "deep",
    "lora",
    "decoder",
    "front",
    "ia3",
    "adapters",
    "dept",
    "short_dept",
    "words",
    "two_words",
    "marked",
    "end",
    "mad_x",
    "blind",
    "in_order",
]
IA3 = [
    *(f"{place}_{projection}_scale" for place in ("encoder", "decoder", "cross") for projection in ("key", "value")),
    *(f"{stack}_feed_forward_scale" for stack in ("encoder", "decoder")),
]
TARGET = "nobody could say"


def key_values(encoder=0, decoder=0, cross=0):
    lengths = {"encoder": encoder, "decoder": decoder, "cross": cross}
    return {f"{part}_key_values": length for part, length in lengths.items() if length}


@pytest.fixture(scope="session")
def tiny_t5(two_layer_t5):
    """Of two layers, as tasks have rows of each layer here."""
    return two_layer_t5


@pytest.fixture(scope="module")
def tasks(tiny_t5):
    return {
        "front": task_of(tiny_t5, 1, method="prompt_tuning", prompt=4),
        "prefix": task_of(tiny_t5, 2, method="prefix_tuning", **key_values(3, 3, 3)),
        "deep": task_of(tiny_t5, 3, method="p_tuning_v2", **key_values(5, 5, 5)),
        "decoder": task_of(tiny_t5, 4, method="prefix_tuning", **key_values(decoder=2)),
        "lora": task_of(tiny_t5, 5, method="lora", encoder_query_delta=2, decoder_value_delta=3, cross_key_delta=2),
        "ia3": task_of(tiny_t5, 6, method="ia3", **dict.fromkeys(IA3, 1)),
        "adapters": task_of(tiny_t5, 7, method="adapters", **dict.fromkeys(ADAPTERS, 3)),
        "dept": task_of(tiny_t5, 8, method="dept", prompt=2, text_offsets=9),
        "short_dept": task_of(tiny_t5, 10, method="dept", prompt=5, text_offsets=3),
        "words": task_of(tiny_t5, 11, method="soft_words", prompt=3, encoder_prompt_addition=3),
        "two_words": task_of(tiny_t5, 12, method="soft_words", prompt=2, encoder_prompt_addition=2),
        "marked": task_of(tiny_t5, 13, method="prompt_tuning", prompt_in_text=5),
        "end": task_of(tiny_t5, 14, method="p_tuning", prompt_at_end=2),
        "film": dataclasses.replace(task_of(tiny_t5, 15, prompt_in_text=3), template="{prompt:1} film: {x}{prompt:2}"),
        "mad_x": task_of(
            tiny_t5,
            16,
            method="mad_x",
            **dict.fromkeys(FEED_FORWARD_ADAPTERS, 2),
            **dict.fromkeys((*LANGUAGE_ADAPTERS, INVERTIBLE_ADAPTER), 3),
        ),
        "blind": seeing(task_of(tiny_t5, 19, method="prompt_tuning", prompt=3), "prompt"),
        "in_order": seeing(task_of(tiny_t5, 20, method="prompt_tuning", prompt=5), "earlier and text"),
        "warp": task_of(tiny_t5, 18, method="warp", prompt=2, label_rows=3),
        "pair": task_of(tiny_t5, 21, method="warp", labels=LABELS[:2], prompt=1, label_rows=2),
    }


@pytest.fixture(scope="module")
def signatures(tiny_t5, tasks):
    return module_of(tiny_t5, tasks).signatures()


def test_every_row_of_a_mixed_batch_is_scored_as_plain_numpy_does(tiny_t5, tasks, signatures):
    found = signatures["score"](
        task_id=tf.constant(ASKED), text=tf.constant(TEXTS), target=tf.constant([TARGET] * len(TEXTS))
    )

    ids = [*tiny_t5.tokenize([TARGET])[0], 1]
    for row, (name, text) in enumerate(zip(ASKED, TEXTS, strict=True)):
        twin, output = twin_and_output(tiny_t5, tasks[name], text)
        expected = numpy_t5.target_log_probability(twin, ids, output)
        assert found["log_likelihood"][row].numpy() == pytest.approx(expected, rel=1e-4)
        assert found["status"][row].numpy() == b""


def test_every_row_of_a_mixed_batch_is_written_as_plain_numpy_does(tiny_t5, tasks, signatures):
    found = signatures["serving_default"](task_id=tf.constant(ASKED), text=tf.constant(TEXTS))

    for row, (name, text) in enumerate(zip(ASKED, TEXTS, strict=True)):
        ids, score = numpy_t5.greedy(*twin_and_output(tiny_t5, tasks[name], text), 6)
        assert found["output"][row].numpy().decode() == tiny_t5.detokenize([ids])[0]
        assert found["score"][row].numpy() == pytest.approx(score, rel=1e-4)


FILM, RAIN = "a charming film", "rain fell on the roof all night long"
BAD = [(b"nobody", FILM), (b"lora", b"rain \xff fell"), (b"\xff", b"\xfe"), (b"", RAIN), (b"marked", "{prompt:6} so")]
GOOD = [
    ("lora", FILM),
    ("marked", ""),
    ("prefix", RAIN),
    ("blind", FILM),
    ("adapters", ""),
    ("dept", FILM),
    ("lora", ""),
]


@pytest.mark.parametrize("signature", ["serving_default", "classify", "score"])
def test_bad_rows_of_several_methods_leave_those_that_share_their_text(tiny_t5, tasks, signatures, signature):
    rows = [*GOOD[:2], BAD[0], GOOD[2], *BAD[1:4], *GOOD[3:6], BAD[4], GOOD[6]]
    target = {"target": tf.constant([TARGET] * len(rows))} if signature == "score" else {}

    found = signatures[signature](
        task_id=tf.constant([name for name, _ in rows]), text=tf.constant([text for _, text in rows]), **target
    )

    said = [status.decode() for status in found["status"].numpy()]
    known = f"Known: {', '.join(tasks)}."
    assert [status for row, status in zip(rows, said, strict=True) if row in BAD] == [
        f"Unknown task id 'nobody'. {known}",
        "`text` must be valid UTF-8.",
        f"Unknown task id '\N{REPLACEMENT CHARACTER}'. {known}",
        f"Unknown task id ''. {known}",
        "Markers of `text` must ask for at most 5 rows. Received: 6.",
    ]
    ids = [*tiny_t5.tokenize([TARGET])[0], 1]
    for k, row in enumerate(rows):
        if row in BAD:
            continue
        twin, output = twin_and_output(tiny_t5, tasks[row[0]], row[1])
        assert said[k] == ""
        if signature == "score":
            expected = numpy_t5.target_log_probability(twin, ids, output)
            assert found["log_likelihood"][k].numpy() == pytest.approx(expected, rel=1e-4), row
        elif signature == "classify":
            expected = _label_logs(tiny_t5, tasks[row[0]], row[1])
            np.testing.assert_allclose(found["log_probabilities"][k], expected, atol=1e-3, err_msg=str(row))
        else:
            answer, score = numpy_t5.greedy(twin, output, 6)
            assert found["output"][k].numpy().decode() == tiny_t5.detokenize([answer])[0]
            assert found["score"][k].numpy() == pytest.approx(score, rel=1e-4), row


def test_in_bfloat16_every_row_of_a_mixed_batch_answers_as_alone(tiny_t5_bfloat16):
    tasks = {
        "front": task_of(tiny_t5_bfloat16, 1, method="prompt_tuning", prompt=4),
        "blind": seeing(task_of(tiny_t5_bfloat16, 19, method="prompt_tuning", prompt=3), "prompt"),
        "deep": task_of(tiny_t5_bfloat16, 3, method="p_tuning_v2", **key_values(2, 2, 2)),
        "lora": task_of(tiny_t5_bfloat16, 5, method="lora", encoder_query_delta=2, cross_key_delta=2),
        "ia3": task_of(tiny_t5_bfloat16, 6, method="ia3", **dict.fromkeys(IA3, 1)),
        "adapters": task_of(tiny_t5_bfloat16, 7, method="adapters", **dict.fromkeys(ADAPTERS, 3)),
        "dept": task_of(tiny_t5_bfloat16, 8, method="dept", prompt=2, text_offsets=9),
        "words": task_of(tiny_t5_bfloat16, 11, method="soft_words", prompt=3, encoder_prompt_addition=3),
        "end": task_of(tiny_t5_bfloat16, 14, method="p_tuning", prompt_at_end=2),
    }
    score = module_of(tiny_t5_bfloat16, tasks).score
    texts = [FILM, RAIN, FILM, FILM, "", FILM, RAIN, FILM, FILM]

    found = score(tf.constant(list(tasks)), tf.constant(texts), tf.constant([TARGET] * len(texts)))["log_likelihood"]

    ids = [*tiny_t5_bfloat16.tokenize([TARGET])[0], 1]
    for row, (name, text) in enumerate(zip(tasks, texts, strict=True)):
        alone = score(tf.constant([name]), tf.constant([text]), tf.constant([TARGET]))["log_likelihood"]
        twin, output = twin_and_output(tiny_t5_bfloat16, tasks[name], text)
        assert found[row].numpy() == pytest.approx(alone[0].numpy(), rel=1e-3), name
        exact = numpy_t5.target_log_probability(twin, ids, output)
        assert found[row].numpy() == pytest.approx(exact, rel=0.015), name  # bfloat16 has 8 bits


def test_label_rows_score_labels_in_a_batch_with_others(tiny_t5, tasks, signatures):
    asked = ["front", "warp", "lora", "warp"]
    request = {"task_id": tf.constant(asked), "text": tf.constant(TEXTS[:4])}

    chosen, written = signatures["classify"](**request), signatures["serving_default"](**request)
    scored = signatures["score"](**request, target=tf.constant(["red", "blue", "red", "nobody"]))

    status = b"The target must be one of the task's labels."
    assert scored["status"].numpy().tolist() == [b"", b"", b"", status]
    logs = [_label_logs(tiny_t5, tasks[name], text) for name, text in zip(asked, TEXTS, strict=False)]
    np.testing.assert_allclose(chosen["log_probabilities"], logs, atol=1e-3)
    assert scored["log_likelihood"][1].numpy() == pytest.approx(logs[1][LABELS.index("blue")], abs=1e-3)
    for row in (1, 3):
        assert written["output"][row].numpy().decode() == LABELS[np.argmax(logs[row])]
        assert written["score"][row].numpy() == pytest.approx(np.max(logs[row]), abs=1e-3)


def test_an_empty_target_is_no_label_beside_a_task_of_more_labels(signatures):
    request = {"task_id": tf.constant(["pair", "warp", "pair"]), "text": tf.constant([FILM] * 3)}

    found = signatures["score"](**request, target=tf.constant(["", "green", "green"]))["status"].numpy().tolist()

    status = b"The target must be one of the task's labels."
    assert found == [status, b"", status]


def _label_logs(t5, task, text):
    """Return the log-probabilities [C] of a task's labels, by their rows or by their words, in plain NumPy."""
    twin, output = twin_and_output(t5, task, text)
    if "label_rows" in task.tensors:
        scores = task.tensors["label_rows"] @ numpy_t5.decode(twin, [0], output)[0]
    else:
        ids = [[*each, 1] for each in t5.tokenize(list(LABELS))]
        scores = np.array([numpy_t5.target_log_probability(twin, each, output) for each in ids])
    return scores - np.logaddexp.reduce(scores)


def test_a_request_is_rendered_as_a_row_of_training_and_moves_no_rows(tiny_t5, tasks, signatures):
    text = "so {prompt:9} {prompt:1}"
    row = Template(tasks["film"].template, "{x}").render_inputs(Row({"x": text}, "row 1"))

    found = signatures["score"](task_id=tf.constant(["film"]), text=tf.constant([text]), target=tf.constant([TARGET]))

    assert row == "{prompt:1} film: so { prompt:9} { prompt:1}{prompt:2}"
    twin, output = twin_and_output(tiny_t5, tasks["film"], row)
    expected = numpy_t5.target_log_probability(twin, [*tiny_t5.tokenize([TARGET])[0], 1], output)
    assert found["log_likelihood"][0].numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        ("{prompt:1} {{{x}}}", "prompt:2", "{prompt:1} { prompt:2}"),
        ("{{{x} so {prompt:1} {{", "prompt:2}", "{ prompt:2} so {prompt:1} {"),
        ("{prompt:1}\n{x}\n{prompt:2}", "a {prompt:3}\n", "{prompt:1}\na { prompt:3}\n\n{prompt:2}"),
        ("{{{x}}}", "prompt:2", "{prompt:2}"),  # a template without markers: the request may have some
    ],
)
def test_a_text_makes_no_marker_with_what_is_around_it(template, text, expected):
    around = (tf.constant([each]) for each in Template(template, "{t}").affixes())

    (found,) = _rendered(tf.constant([text]), *around, tf.constant([5])).numpy()

    assert found.decode() == expected


def test_a_text_that_asks_for_too_many_rows_gets_a_status_and_leaves_the_others(signatures):
    asked = {"marked": "a {prompt:2} b", "film": "a {prompt:4}", "front": "{prompt:9} a"}
    bad = ["a {prompt:6}", "a {prompt:999999999}{prompt:999999999}"]

    found = signatures["serving_default"](
        task_id=tf.constant([*asked, "marked", "marked"]), text=tf.constant([*asked.values(), *bad])
    )

    status = "Markers of `text` must ask for at most 5 rows. Received: {}."
    expected = ["", "", "", status.format(6), status.format(1999999998)]
    assert [each.decode() for each in found["status"].numpy()] == expected
    for row, (name, text) in enumerate(asked.items()):
        alone = signatures["serving_default"](task_id=tf.constant([name]), text=tf.constant([text]))
        np.testing.assert_allclose(found["score"][row], alone["score"][0], rtol=1e-5)


def test_a_prompt_that_a_request_brings_is_served_beside_other_methods(tiny_t5, tasks, signatures):
    prompt = tasks["front"].prompt

    found = signatures["generate_with_prompt"](prompt=tf.constant(prompt[None]), text=tf.constant(TEXTS[:1]))

    ids, score = numpy_t5.greedy(*twin_and_output(tiny_t5, tasks["front"], TEXTS[0]), 32)
    assert found["output"][0].numpy().decode() == tiny_t5.detokenize([ids])[0]
    assert found["score"][0].numpy() == pytest.approx(score, rel=1e-3)


@pytest.mark.usefixtures("asked_once")
def test_an_export_of_several_methods_is_written_checked_and_added_to(tmp_path, tiny_t5, tasks):
    added = task_of(tiny_t5, 9, method="p_tuning_v2", **key_values(2, 2, 2))
    moved = task_of(tiny_t5, 14, method="dept", prompt=1, text_offsets=4)

    inputs = {"task_id": ["later", "front", "moved"], "text": TEXTS[:3], "target": [TARGET] * 3}
    request = {"signature": "score", "inputs": inputs}

    names = ("front", "deep", "adapters", "dept", "words", "marked", "warp")  # each takes seconds to compare
    write_saved_model(
        tmp_path / "t5", tiny_t5, {name: tasks[name] for name in names}
    )  # compares its answers with Keras's
    with asked_ahead([request]):
        beside = task_of(tiny_t5, 17, method="warp", prompt_in_text=2, label_rows=3)
        version = add_tasks(tmp_path / "t5", {"later": added, "moved": moved, "beside": beside})

    assert [(task.task_id, task.method) for task in list_tasks(tmp_path / "t5")] == [
        ("front", "prompt_tuning"),
        ("deep", "p_tuning_v2"),
        ("adapters", "adapters"),
        ("dept", "dept"),
        ("words", "soft_words"),
        ("marked", "prompt_tuning"),
        ("warp", "warp"),
        ("later", "p_tuning_v2"),
        ("moved", "dept"),
        ("beside", "warp"),
    ]
    (found,) = ask_once(version, [request])
    models = [
        sp.PromptedT5(tiny_t5, task, max_target_tokens=32) for task in (added, tasks["front"], moved)
    ]  # cuts no target
    expected = [model.score([text], [TARGET])[0] for model, text in zip(models, TEXTS[:3], strict=True)]
    np.testing.assert_allclose(found["log_likelihood"], expected, rtol=1e-4)


def test_a_method_that_a_graph_does_not_have_is_refused(tmp_path, tiny_t5, tasks):
    write_saved_model(tmp_path / "t5", tiny_t5, {"front": tasks["front"]}, verify=False)

    with pytest.raises(ExportError, match="encoder_key_values"):
        add_tasks(tmp_path / "t5", {"prefix": tasks["prefix"]})
    with pytest.raises(ExportError, match="with prompt_in_text. Write the export again"):
        add_tasks(tmp_path / "t5", {"marked": tasks["marked"]})


def test_a_graph_of_prompts_alone_has_no_other_tables(tiny_t5):
    module = ServingModule(tiny_t5, without_tasks(tiny_t5.hidden_dim))

    names = [variable.name for variable in module.tables.variables]
    assert "prompts:0" in names
    assert not [name for name in names if "key_values" in name]
    functions = module._shared.value
    assert (
        functions.tokenize_placed is functions.score_labels is None
    )  # and no op for rows in other places, or of labels
