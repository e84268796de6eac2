"""What a prompt's rows see in the encoder: answers against a plain NumPy T5, training, and what is kept of the choice."""

import itertools

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from finite_differences import check_gradients, two_rows
from served_methods import seeing, task_of
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import BackboneError, PromptError
from softprompt_tf.export import write_saved_model
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.task_tensors import SIGHTS

TEXT, TARGET = "rain fell on the roof all night long", "nobody could say"


@pytest.fixture(scope="session")
def tiny_t5(one_layer_t5):
    return one_layer_t5


def logits_of(model):
    return logits_of_tokens(model, two_rows()[0])


def logits_of_tokens(model, tokens):
    return np.asarray(model(tokens))


def model_of(t5, sees, **settings):
    return sp.PromptedT5(t5, sp.prompt_tuning(3, sees=sees, seed=3, **settings), labels=["yes", "no"])


@pytest.mark.parametrize("sees", SIGHTS)
def test_answers_are_those_of_plain_numpy(tiny_t5, sees):
    task = seeing(task_of(tiny_t5, 1, method="prompt_tuning", prompt=3), sees)
    tokens, weights = two_rows()[0], numpy_t5.read_weights(tiny_t5.backbone)

    found = logits_of(sp.PromptedT5(tiny_t5, task))

    for row, length in enumerate((4, 2)):
        text = weights.table[np.asarray(tokens["encoder_token_ids"])[row, :length]]
        encoded = numpy_t5.encode(weights, np.concatenate([task.prompt, text]), sight=(3, SIGHTS[sees]))
        expected = numpy_t5.logits(weights, np.asarray(tokens["decoder_token_ids"])[row], encoded)
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_each_choice_gives_other_answers(tiny_t5):
    prompt = task_of(tiny_t5, 1, method="prompt_tuning", prompt=3)

    found = [logits_of(sp.PromptedT5(tiny_t5, seeing(prompt, sees))) for sees in SIGHTS]

    for k, logits in enumerate(found):
        assert all(np.abs(logits - other).max() > 1e-3 for other in found[:k])


# Each method that folds to a prompt, with what its rows see; all choices but "all" come up.
FOLDED = dict(
    zip(
        ("residual", "superpos", "low_rank", "ulpt", "p_tuning", "multitask_prompts", "mpt", "attempt"),
        itertools.cycle(sees for sees in SIGHTS if sees != "all"),
        strict=False,
    )
)
SMALL = {"residual": {"bottleneck_dim": 5}, "superpos": {"num_embeddings": 6}, "p_tuning": {"network_dim": 3}}


@pytest.fixture(scope="module")
def folded_models(tiny_t5):
    models = {}
    for name, sees in FOLDED.items():
        method = getattr(sp, name)(3, sees=sees, seed=3, **SMALL.get(name, {}))
        models[name] = sp.PromptedT5(tiny_t5, method, max_target_tokens=6)
    return models


@pytest.fixture(scope="module")
def folded_scores(tmp_path_factory, tiny_t5, folded_models):
    """Method -> the log-likelihood that one SavedModel of all of them gives, all in one batch."""
    tasks = {name: model.task_prompt(name) for name, model in folded_models.items()}
    version = write_saved_model(tmp_path_factory.mktemp("folded"), tiny_t5, tasks, verify=False)
    inputs = {"task_id": list(tasks), "text": [TEXT] * len(tasks), "target": [TARGET] * len(tasks)}
    (found,) = run_in_process(version, [{"signature": "score", "inputs": inputs}])
    return dict(zip(tasks, found["log_likelihood"], strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize("name", FOLDED)
def test_a_served_prompt_that_was_folded_sees_what_it_saw(tiny_t5, folded_models, folded_scores, name):
    model, ids = folded_models[name], [*tiny_t5.tokenize([TARGET])[0], 1]
    text = np.array([[*tiny_t5.tokenize([TEXT])[0], 1]])
    target = np.array([[0, *ids[:-1]]])
    tokens = {"encoder_token_ids": text, "encoder_padding_mask": np.ones_like(text)}

    logits = logits_of_tokens(
        model, {**tokens, "decoder_token_ids": target, "decoder_padding_mask": np.ones_like(target)}
    )

    logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    assert folded_scores[name] == pytest.approx(logs[0, np.arange(len(ids)), ids].sum(), rel=1e-4)
    weights = numpy_t5.read_weights(tiny_t5.backbone)
    rows = np.concatenate([model.prompt_value(), weights.table[text[0]]])
    for sees in (FOLDED[name], "all"):
        exact = numpy_t5.target_log_probability(weights, ids, numpy_t5.encode(weights, rows, sight=(3, SIGHTS[sees])))
        assert (abs(folded_scores[name] / exact - 1) < 1e-4) == (sees != "all")


def prompt_of(t5, sees):
    return seeing(task_of(t5, 1, method="prompt_tuning", prompt=3), sees)


def float_twin(t5):
    """Return a float32 T5 of the weights that a quantized one has."""
    twin = make_tiny_t5(num_layers=1, seed=3)
    for stack in ("encoder", "decoder"):
        pairs = zip(*(getattr(each.backbone, f"{stack}_transformer_layers") for each in (t5, twin)), strict=True)
        for own, of_twin in (parts for pair in pairs for parts in zip(*map(projections, pair), strict=True)):
            activation, own.activation = own.activation, None
            of_twin.kernel.assign(own(np.eye(of_twin.kernel.shape[0], dtype=np.float32)))
            own.activation = activation
    return twin


def projections(layer):
    return [part for part in layer._flatten_layers() if isinstance(part, keras.layers.Dense)]


@pytest.mark.parametrize(("mode", "share"), [("int8", 0.1), ("int4", 1e-5)])  # int8 rounds what goes in, too
def test_a_quantized_t5_answers_as_the_float_one_of_its_weights(mode, share):
    t5 = make_tiny_t5(num_layers=1, seed=3)
    t5.quantize(mode)
    twin = float_twin(t5)

    found, expected = (logits_of(sp.PromptedT5(each, prompt_of(each, "itself"))) for each in (t5, twin))

    other = logits_of(sp.PromptedT5(twin, prompt_of(twin, "all")))
    assert np.abs(found - expected).mean() < share * np.abs(other - expected).mean()


def test_several_tasks_train_with_the_slopes_of_the_loss(tiny_t5):
    model = model_of(tiny_t5, "earlier", task_ids=["a", "b"])
    tokens, targets = two_rows()

    assert [variable.name for variable in model.trainable_variables] == ["prompt"]
    check_gradients(model, {**tokens, "task_id": tf.constant([1, 0])}, targets)
    np.testing.assert_array_equal(model.task_tensors("b")["prompt_sight"], [SIGHTS["earlier"]])


def test_a_file_and_a_saved_model_keep_the_choice_and_it_does_not_train(tmp_path, tiny_t5):
    model = model_of(tiny_t5, "itself and text")
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    loaded = sp.PromptedT5(tiny_t5, sp.load_prompt(tmp_path / "it.safetensors"))

    np.testing.assert_array_equal(logits_of(loaded), logits_of(model))
    np.testing.assert_allclose(logits_of(sp.load_model(tmp_path / "model.keras")), logits_of(model), atol=1e-5)
    assert [variable.name for variable in loaded.trainable_variables] == ["prompt"]


def test_a_config_names_the_choice():
    section = PromptTuningConfig(sees="prompt")

    assert section.make([TaskStart("mood", ("yes", "no"))], seed=1).sees == "prompt"


def test_rows_that_see_not_all_are_in_front(tiny_t5):
    with pytest.raises(PromptError, match="`sees` must be one of all, earlier and text, .*Received: sees='nothing'"):
        sp.prompt_tuning(sees="nothing")
    with pytest.raises(PromptError, match="all but for rows in front.*Received: sees='prompt', position='end'"):
        sp.prompt_tuning(sees="prompt", position="end")
    with pytest.raises(PromptError, match=r"`prompt_sight` must be of zeros and ones.*Received: \[\[1.0, 2.0, 0.0\]\]"):
        task = task_of(tiny_t5, 1, prompt=2)
        type(task)(tensors={**task.tensors, "prompt_sight": np.array([[1, 2, 0]], np.float32)}, method="any")


def test_a_t5_with_dropout_is_refused():
    with pytest.raises(BackboneError, match="needs a T5 without dropout"):
        model_of(make_tiny_t5(num_layers=1, dropout=0.1), "prompt")
