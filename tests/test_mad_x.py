"""A task adapter on top of a frozen language adapter: what comes out, what trains, what is kept, and what is refused."""

import dataclasses

import keras
import numpy as np
import numpy_t5
import pytest
from finite_differences import two_rows
from served_methods import task_of
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.methods.task_tensors import FEED_FORWARD_ADAPTERS, INVERTIBLE_ADAPTER, LANGUAGE_ADAPTERS
from softprompt_tf.methods.task_tensors import row_shape as shape_of

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
# Tensor of a language adapter -> its name in a task on top of it.
LANGUAGE_OF = {
    **dict(zip(FEED_FORWARD_ADAPTERS, LANGUAGE_ADAPTERS, strict=True)),
    INVERTIBLE_ADAPTER: INVERTIBLE_ADAPTER,
}
DATA = {"encoder_text": TEXTS, "decoder_text": ["yes", "no"]}


@pytest.fixture(scope="session")
def tiny_t5(one_layer_t5):
    return one_layer_t5


def language_of(t5, *, seed=1, **fields):
    """Return a task of drawn adapters behind the feed-forwards."""
    task = task_of(t5, seed, method="adapters", **dict.fromkeys((*FEED_FORWARD_ADAPTERS, INVERTIBLE_ADAPTER), 3))
    return dataclasses.replace(task, **fields) if fields else task


def drawn(model, seed=5):
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1 * rng.normal(size=variable.shape))
    return model


def model_of(t5, language, **settings):
    return sp.PromptedT5(t5, sp.mad_x(2, language=language, seed=3, **settings), labels=["yes", "no"])


def logits_of(model):
    return np.asarray(model(two_rows()[0]))


def test_the_task_adapter_reads_what_the_language_adapter_makes(tiny_t5):
    model = drawn(model_of(tiny_t5, language_of(tiny_t5)))
    tensors = model.task_tensors()

    tokens, _ = two_rows()
    weights = numpy_t5.with_changes(numpy_t5.read_weights(tiny_t5.backbone), tensors)
    encoded = numpy_t5.encode(
        weights, numpy_t5.embed(weights, weights.table[np.asarray(tokens["encoder_token_ids"])[0]])
    )
    expected = numpy_t5.logits(weights, np.asarray(tokens["decoder_token_ids"])[0], encoded)
    np.testing.assert_allclose(logits_of(model)[0], expected, atol=1e-4)
    for name, language in LANGUAGE_OF.items():
        np.testing.assert_array_equal(tensors[language], language_of(tiny_t5).tensors[name])


def test_a_fresh_task_adapter_is_the_language_adapter_alone(tiny_t5):
    language = language_of(tiny_t5)

    np.testing.assert_allclose(
        logits_of(model_of(tiny_t5, language)), logits_of(sp.PromptedT5(tiny_t5, language)), atol=1e-5
    )


def test_without_a_language_it_is_an_adapter_behind_each_feed_forward(tiny_t5):
    model = drawn(model_of(tiny_t5, None))
    plain = drawn(sp.PromptedT5(tiny_t5, sp.adapters(2, after_attention=False, cross=False, seed=3)))

    assert list(model.task_tensors()) == list(FEED_FORWARD_ADAPTERS)
    np.testing.assert_array_equal(logits_of(model), logits_of(plain))


def test_only_the_task_adapter_trains(tiny_t5):
    model = drawn(model_of(tiny_t5, language_of(tiny_t5)))
    before = {name: variable.numpy() for name, variable in model.prompt_table.variables_by_name.items()}
    model.compile(keras.optimizers.Adam(0.01), sp.TargetCrossEntropy(), run_eagerly=True)

    model.fit(DATA, epochs=1, verbose=0)

    after = {name: variable.numpy() for name, variable in model.prompt_table.variables_by_name.items()}
    assert {name for name in before if not np.any(after[name] != before[name])} == set(LANGUAGE_OF.values())


def test_a_file_is_a_language_and_a_saved_task_and_model_have_it(tmp_path, tiny_t5):
    text = drawn(sp.PromptedT5(tiny_t5, sp.adapters(2, after_attention=False, invertible=True, seed=1)))
    text.save_prompt(tmp_path / "language.safetensors", task_id="english")
    model = drawn(model_of(tiny_t5, tmp_path / "language.safetensors"))
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    task, again = sp.load_prompt(tmp_path / "it.safetensors"), sp.load_model(tmp_path / "model.keras")

    assert (task.method, set(task.tensors)) == ("mad_x", {*FEED_FORWARD_ADAPTERS, *LANGUAGE_OF.values()})
    np.testing.assert_allclose(logits_of(sp.PromptedT5(tiny_t5, task)), logits_of(model), atol=1e-5)
    np.testing.assert_allclose(logits_of(again), logits_of(model), atol=1e-5)
    assert [variable.name for variable in again.trainable_variables] == [v.name for v in model.trainable_variables]


def test_the_language_of_a_task_can_be_exchanged(tiny_t5):
    english, french = language_of(tiny_t5), language_of(tiny_t5, seed=2)
    task = drawn(model_of(tiny_t5, english)).task_prompt("it")
    other = {language: french.tensors[name] for name, language in LANGUAGE_OF.items()}

    found = logits_of(sp.PromptedT5(tiny_t5, dataclasses.replace(task, tensors={**task.tensors, **other})))

    np.testing.assert_allclose(found, logits_of(drawn(model_of(tiny_t5, french))), atol=1e-5)


def test_a_config_finds_the_language_beside_it_and_counts_its_content(tmp_path, tiny_t5):
    from softprompt_tf.errors import TrainingError
    from softprompt_tf.methods import write_prompt
    from softprompt_tf.runs.run_identity import RunRecord

    write_prompt(tmp_path / "language.safetensors", language_of(tiny_t5))
    (tmp_path / "run.yaml").write_text(
        "backbone: mini\noutput_dir: out\nprompt: {method: mad_x, language: language.safetensors}\n"
        "task: {name: mood, inputs: '{text}', labels: {a: yes, b: no}}\n",
        encoding="utf-8",
    )

    section = load_config(tmp_path / "run.yaml").prompt

    assert section.first_values == f"file:{tmp_path / 'language.safetensors'}"
    made = section.make([TaskStart("mood")], seed=1)
    assert made.language_units == dict.fromkeys(LANGUAGE_OF.values(), 3)
    RunRecord(tmp_path, has_begun=False).check_first_values(section.first_values)
    write_prompt(tmp_path / "language.safetensors", language_of(tiny_t5, seed=2))
    with pytest.raises(TrainingError, match="A run goes on with the first values that it began with"):
        RunRecord(tmp_path, has_begun=True).check_first_values(section.first_values)


def test_a_language_of_another_backbone_is_refused(tiny_t5):
    other = language_of(make_tiny_t5(num_layers=1, seed=9))
    unknown = language_of(make_tiny_t5(num_layers=2), backbone_fingerprint="")

    for language in (other, unknown):
        with pytest.raises(
            BackboneMismatchError, match="The language adapter was made for .* Train the adapter on this"
        ):
            model_of(tiny_t5, language)


@pytest.mark.parametrize("language", [3, {"prompt": 2}, {"encoder_language_adapter": 2, "x": 1}])
def test_what_is_no_language_is_refused(language):
    with pytest.raises(PromptError, match="A language adapter must be a task .* Received: "):
        sp.mad_x(language=language)


@pytest.mark.parametrize(
    "lengths", [{"prompt": 2}, {"encoder_feed_forward_adapter": 2, "encoder_attention_adapter": 2}]
)
def test_a_task_of_other_tensors_is_no_language(tiny_t5, lengths):
    with pytest.raises(
        PromptError, match=f"behind the feed-forwards alone.*Received: a task with .*{list(lengths)[-1]}"
    ):
        sp.mad_x(language=task_of(tiny_t5, 1, **lengths))


def test_adapters_must_be_somewhere(tiny_t5):
    with pytest.raises(PromptError, match="There must be adapters somewhere"):
        sp.mad_x(encoder=False, decoder=False)


def test_the_rows_of_a_language_have_the_form_of_an_adapters(tiny_t5):
    for name, language in zip(FEED_FORWARD_ADAPTERS, LANGUAGE_ADAPTERS, strict=True):
        assert shape_of(language, tiny_t5.sizes) == shape_of(name, tiny_t5.sizes)
