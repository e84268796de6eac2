"""Which candidates there are, and in which order."""

from pathlib import Path

import pytest

from softprompt_tf.errors import ConfigError
from softprompt_tf.tuning.methods_tried import METHODS_TRIED, check_methods
from softprompt_tf.tuning.planning import rates_of
from softprompt_tf.tuning.recipes import BUNDLED_RATES, PAPER_RATES, Source, recipes

SOURCES = [Source(Path("prompts/a.safetensors"), 20), Source(Path("prompts/b.safetensors"), 20)]


def test_the_first_candidate_on_the_bundled_t5_is_its_own_recipe():
    assert str(recipes(rates=BUNDLED_RATES, num_labels=2)[0]) == "prompt_tuning 20, from the labels, rate 1, cosine"


def test_the_first_candidate_on_another_t5_is_the_papers():
    assert str(recipes(rates=PAPER_RATES, num_labels=2)[0]) == "prompt_tuning 20, from the labels, rate 0.3, constant"


def test_numbers_follow_the_order_and_no_candidate_is_there_twice():
    found = recipes(rates=BUNDLED_RATES, num_labels=2, sources=SOURCES, is_short=True)

    assert [recipe.number for recipe in found] == list(range(1, len(found) + 1))
    assert len({str(recipe) for recipe in found}) == len(found)


def test_a_task_without_labels_starts_from_words():
    found = recipes(rates=BUNDLED_RATES, num_labels=0)

    assert {recipe.start for recipe in found} == {"sampled_vocabulary", ""}
    assert len({str(recipe) for recipe in found}) == len(found)


def test_a_prompt_has_room_for_all_labels():
    found = recipes(rates=BUNDLED_RATES, num_labels=33)

    assert min(recipe.length for recipe in found if recipe.method not in ("adapters", "ia3")) == 33


def test_late_prompts_are_tried_early_where_the_time_is_short():
    assert recipes(rates=BUNDLED_RATES, num_labels=2, is_short=True)[3].method == "late_prompts"
    assert "late_prompts" not in [recipe.method for recipe in recipes(rates=BUNDLED_RATES, num_labels=2)]


@pytest.mark.parametrize(("rates", "rate"), [(BUNDLED_RATES, 0.01), (PAPER_RATES, 0.003)], ids=["mini", "another T5"])
def test_the_second_candidate_is_adapters_in_the_decoder_alone(rates, rate):
    second = recipes(rates=rates, num_labels=2)[1]

    method = second.make("mood", ["no", "yes"], seed=1)
    assert str(second) == f"adapters 16 in the decoder, rate {rate}, cosine"
    assert (method.name, method.length, method.places) == ("adapters", 16, ("decoder", "cross"))
    assert (second.optimizer, second.on_states) == ("adam", True)


@pytest.mark.parametrize(("rates", "rate"), [(BUNDLED_RATES, 0.3), (PAPER_RATES, 0.003)], ids=["mini", "another T5"])
def test_the_third_candidate_is_ia3_everywhere(rates, rate):
    third = recipes(rates=rates, num_labels=2)[2]

    method = third.make("mood", ["no", "yes"], seed=1)
    assert str(third) == f"ia3, rate {rate}, cosine"
    assert (method.name, method.places) == ("ia3", ("encoder", "decoder", "cross"))
    assert (third.optimizer, third.on_states, third.group) == ("adam", False, ("ia3", 1))


@pytest.mark.parametrize(
    ("backbone", "prompt", "adapters", "ia3"),
    [("mini", 1.0, 0.01, 0.3), ("t5_1.1_small", 0.3, 0.003, 0.003)],
)
def test_rates_are_chosen_by_the_backbone(backbone, prompt, adapters, ia3):
    found = recipes(rates=rates_of(backbone), num_labels=2)

    assert [recipe.rate for recipe in found[:3]] == [prompt, adapters, ia3]


def test_chosen_methods_alone_are_tried():
    found = recipes(rates=BUNDLED_RATES, num_labels=2, methods=("late_prompts", "superpos"))

    assert [(recipe.number, recipe.method) for recipe in found] == [(1, "late_prompts"), (2, "superpos")]


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_each_method_has_a_candidate_where_it_is_the_only_one(method):
    assert {recipe.method for recipe in recipes(rates=PAPER_RATES, num_labels=0, methods=(method,))} == {method}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["superpo"], r"Received: 'superpo'\. Did you mean `superpos`\? Train others with `softprompt train`\."),
        ([], r"`methods` must name one method or more of prompt_tuning, adapters, .* Received: none\."),
    ],
    ids=["unknown", "none"],
)
def test_wrong_methods_are_named(methods, message):
    with pytest.raises(ConfigError, match=message):
        check_methods(methods)


def test_a_source_prompt_is_a_start_of_its_own_length():
    found = recipes(rates=BUNDLED_RATES, num_labels=2, sources=[Source(Path("prompts/long.safetensors"), 50)])

    (from_source,) = [recipe for recipe in found if recipe.start.startswith("file:")]
    assert (from_source.length, str(from_source)) == (50, "prompt_tuning 50, from long.safetensors, rate 1, cosine")


@pytest.mark.parametrize("is_short", [False, True])
def test_candidates_of_one_length_in_front_of_the_input_are_one_group(is_short):
    first = recipes(rates=BUNDLED_RATES, num_labels=2, is_short=is_short)[0].group

    methods = {r.method for r in recipes(rates=BUNDLED_RATES, num_labels=2, is_short=is_short) if r.group == first}
    assert methods == {"prompt_tuning", "superpos", "residual"}
