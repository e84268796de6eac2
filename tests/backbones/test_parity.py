"""Small T5s of each family against what transformers 5.23 and PEFT 0.21 made of the same files (`tests/parity/record.py`)."""

from pathlib import Path

import answers
import numpy as np
import pytest
import t5_models

from softprompt_tf.methods import load_prompt

pytestmark = pytest.mark.thorough

RECORDED = Path(answers.__file__).parent / "recorded"
LIMIT = 1e-4
CASES = pytest.mark.parametrize("case", t5_models.CASES)


@pytest.fixture(scope="module")
def given(loaded):
    """A function: a case and whether PEFT's prompt stands in front, to our answers, computed once."""
    known = {}

    def answer(case, *, is_prompted):
        if (case, is_prompted) not in known:
            prompt = load_prompt(RECORDED / f"{case}_adapter").prompt if is_prompted else None
            known[case, is_prompted] = answers.answers(loaded(case), case, prompt)
        return known[case, is_prompted]

    return answer


def recorded(case):
    return np.load(RECORDED / f"{case}.npz")


def greedy_answers(tokens):
    return [answers.until_end(row) for row in tokens]


@CASES
def test_the_encoder_gives_what_transformers_gives(given, case):
    expected = recorded(case)["encoder_output"]

    output, _, _ = given(case, is_prompted=False)

    mask = answers.watched_mask()
    np.testing.assert_allclose(output[mask], expected[mask], atol=LIMIT, rtol=0)
    assert np.abs(expected[mask]).max() > 1  # else the comparison would say little


@CASES
def test_logits_are_those_of_transformers(given, case):
    expected = recorded(case)["logits"]

    _, logits, _ = given(case, is_prompted=False)

    np.testing.assert_allclose(logits, expected, atol=LIMIT, rtol=0)
    assert np.abs(expected).max() > 5


@CASES
def test_greedy_answers_are_those_of_transformers(given, case):
    _, _, tokens = given(case, is_prompted=False)

    assert greedy_answers(tokens) == greedy_answers(recorded(case)["tokens"])


@CASES
def test_an_adapter_of_peft_is_the_prompt_that_was_given_to_peft(case):
    np.testing.assert_array_equal(load_prompt(RECORDED / f"{case}_adapter").prompt, t5_models.prompt(case))


@CASES
def test_an_adapter_of_peft_gives_the_logits_that_it_gives_there(given, case):
    expected = recorded(case)["prompted_logits"]

    _, logits, _ = given(case, is_prompted=True)

    np.testing.assert_allclose(logits, expected, atol=LIMIT, rtol=0)
    assert np.abs(expected - recorded(case)["logits"]).max() > 0.1  # the prompt does something


@CASES
def test_an_adapter_of_peft_gives_the_answers_that_it_gives_there(given, case):
    _, _, tokens = given(case, is_prompted=True)

    assert greedy_answers(tokens) == greedy_answers(recorded(case)["prompted_tokens"])


@CASES
def test_the_recorded_prompt_changes_answers(case):
    assert not np.array_equal(recorded(case)["tokens"], recorded(case)["prompted_tokens"])


# === A prefix ===


@pytest.mark.parametrize(("case", "pairs"), [("t5_1_0", [0, 0]), ("flan_t5", [0, 2, 0, 2])])
def test_a_prefix_adapter_of_peft_holds_what_was_given_to_peft(case, pairs):
    sizes = t5_models.CASES[case]
    shape = (t5_models.PROMPT_LENGTH, sizes["num_layers"], 2, sizes["num_heads"], sizes["d_kv"])

    task_prompt = load_prompt(RECORDED / f"{case}_prefix_adapter")

    given = t5_models.prefix_rows(case).reshape(shape)
    np.testing.assert_array_equal(task_prompt.tensors["decoder_past_key_values"], given[:, pairs])


@pytest.mark.parametrize("has_positions", [True, False])
@pytest.mark.parametrize("case", t5_models.PREFIX_CASES)
def test_a_prefix_adapter_of_peft_gives_the_answers_that_it_gives_there(loaded, case, has_positions):
    task, expected = load_prompt(RECORDED / f"{case}_prefix_adapter"), recorded(f"{case}_prefix")
    name, suffix = ("decoder_past_key_values", "") if has_positions else ("decoder_key_values", "_without_positions")
    tensors = {name: task.tensors["decoder_past_key_values"]}

    logits, tokens = answers.answers_under_tensors(loaded(case), case, tensors)

    np.testing.assert_allclose(logits, expected[f"logits{suffix}"], atol=LIMIT, rtol=0)
    assert greedy_answers(tokens) == greedy_answers(expected[f"tokens{suffix}"])
    assert (
        np.abs(expected["logits"] - expected["logits_without_positions"]).max() > 0.1
    )  # else the two would say the same
    assert np.abs(expected["logits"] - recorded(case)["logits"]).max() > 0.1


# === Changed modules ===


@pytest.mark.parametrize("name", t5_models.MODULE_ADAPTERS)
def test_an_adapter_that_changes_modules_gives_the_logits_that_it_gives_in_peft(loaded, name):
    (case, *_), expected = (
        t5_models.MODULE_ADAPTERS[name],
        recorded(name)["logits"],
    )  # `make parity` compares tokens too

    logits = answers.logits_under_tensors(loaded(case), case, load_prompt(RECORDED / f"{name}_adapter").tensors)

    np.testing.assert_allclose(logits, expected, atol=LIMIT, rtol=0)
    assert np.abs(expected - recorded(case)["logits"]).max() > 0.1


@pytest.mark.parametrize("name", t5_models.BOTTLENECKS)
def test_adapters_give_the_logits_that_they_give_in_adapterhub(loaded, name):
    case, expected = t5_models.BOTTLENECKS[name][0], recorded(name)["logits"]

    logits = answers.logits_under_bottlenecks(loaded(case), name)
    read = answers.logits_under_tensors(loaded(case), case, load_prompt(RECORDED / f"{name}_adapter").tensors)

    np.testing.assert_allclose(logits, expected, atol=LIMIT, rtol=0)
    np.testing.assert_allclose(read, expected, atol=LIMIT, rtol=0)
    assert np.abs(expected - recorded(case)["logits"]).max() > 0.1


# === Prompts that a network or several tasks make ===


@pytest.mark.parametrize("kind", t5_models.MADE_PROMPTS)
def test_values_of_peft_make_the_prompts_and_logits_that_they_make_there(loaded, kind):
    case, expected = t5_models.MADE_CASE, np.load(RECORDED / "made_prompts.npz")

    prompts = answers.made_prompts(kind)
    logits = answers.logits_under_prompts(loaded(case), case, prompts)

    np.testing.assert_allclose(prompts, expected[f"{kind}_prompts"], atol=LIMIT, rtol=0)
    np.testing.assert_allclose(logits, expected[f"{kind}_logits"], atol=LIMIT, rtol=0)
    assert np.abs(expected[f"{kind}_logits"] - recorded(case)["logits"]).max() > 0.1


@pytest.mark.parametrize("kind", ["p_tuning_lstm", "p_tuning_mlp"])
def test_an_adapter_of_a_prompt_encoder_holds_the_rows_that_it_made(kind):
    task_prompt = load_prompt(RECORDED / f"{kind}_adapter")

    assert task_prompt.method == "p_tuning"
    np.testing.assert_allclose(task_prompt.prompt, answers.made_prompts(kind)[0], atol=1e-5, rtol=1e-5)
