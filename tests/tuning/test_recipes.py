"""Which candidates there are, and in which order."""

from pathlib import Path

import pytest

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

    assert min(recipe.length for recipe in found) == 33


def test_prompts_behind_the_encoder_are_tried_second_where_the_time_is_short():
    assert recipes(rates=BUNDLED_RATES, num_labels=2, is_short=True)[1].method == "late_prompts"
    assert "late_prompts" not in [recipe.method for recipe in recipes(rates=BUNDLED_RATES, num_labels=2)]


def test_a_source_prompt_is_a_start_of_its_own_length():
    found = recipes(rates=BUNDLED_RATES, num_labels=2, sources=[Source(Path("prompts/long.safetensors"), 50)])

    (from_source,) = [recipe for recipe in found if recipe.start.startswith("file:")]
    assert (from_source.length, str(from_source)) == (50, "prompt_tuning 50, from long.safetensors, rate 1, cosine")


@pytest.mark.parametrize("is_short", [False, True])
def test_candidates_of_one_length_in_front_of_the_input_are_one_group(is_short):
    first = recipes(rates=BUNDLED_RATES, num_labels=2, is_short=is_short)[0].group

    methods = {r.method for r in recipes(rates=BUNDLED_RATES, num_labels=2, is_short=is_short) if r.group == first}
    assert methods == {"prompt_tuning", "superpos", "residual"}
