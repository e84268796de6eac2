"""Which candidates there are, and in which order."""

from pathlib import Path

import pytest
from tiny_run import write_preset

from softprompt_tf.backbones import load_t5
from softprompt_tf.errors import ConfigError
from softprompt_tf.tuning.methods_tried import METHODS_TRIED, check_methods
from softprompt_tf.tuning.planning import IN_FRONT, rates_of, to_measure
from softprompt_tf.tuning.recipes import BUNDLED_RATES, PAPER_RATES, Source, recipes
from softprompt_tf.tuning.sources import sources_of

SOURCES = [Source(Path("prompts/a.safetensors"), 20), Source(Path("prompts/b.safetensors"), 20)]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (BUNDLED_RATES, ["ia3, rate 0.3", "prompt_tuning 20, from the labels, rate 1", "adapters 16 in the decoder"]),
        (PAPER_RATES, ["prompt_tuning 20, from the labels, rate 0.3", "adapters 16 in the decoder", "ia3, rate 0.003"]),
    ],
    ids=["mini", "another T5"],
)
def test_the_first_three_candidates_are_of_three_kinds(rates, expected):
    found = [str(recipe) for recipe in recipes(rates=rates, num_labels=2)[:3]]

    assert [name.startswith(start) for name, start in zip(found, expected, strict=True)] == [True] * 3, found


def test_the_first_prompts_schedule_is_that_of_the_backbone():
    bundled, papers = (
        recipes(rates=rates, num_labels=2, methods=["prompt_tuning"]) for rates in (BUNDLED_RATES, PAPER_RATES)
    )

    assert (bundled[0].schedule, papers[0].schedule) == ("cosine", "constant")


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
def test_adapters_are_in_the_decoder_alone(rates, rate):
    second = next(recipe for recipe in recipes(rates=rates, num_labels=2) if recipe.method == "adapters")

    method = second.make("mood", ["no", "yes"], seed=1)
    assert str(second) == f"adapters 16 in the decoder, rate {rate}, cosine"
    assert (method.name, method.length, method.places) == ("adapters", 16, ("decoder", "cross"))
    assert (second.optimizer, second.on_states) == ("adam", True)


@pytest.mark.parametrize(("rates", "rate"), [(BUNDLED_RATES, 0.3), (PAPER_RATES, 0.003)], ids=["mini", "another T5"])
def test_ia3_is_everywhere(rates, rate):
    third = next(recipe for recipe in recipes(rates=rates, num_labels=2) if recipe.method == "ia3")

    method = third.make("mood", ["no", "yes"], seed=1)
    assert str(third) == f"ia3, rate {rate}, cosine"
    assert (method.name, method.places) == ("ia3", ("encoder", "decoder", "cross"))
    assert (third.optimizer, third.on_states, third.group) == ("adam", False, ("ia3", 1))


@pytest.mark.parametrize(
    ("source", "prompt", "adapters", "ia3"),
    [("mini", 1.0, 0.01, 0.3), ("another/mini", 0.3, 0.003, 0.003)],
)
def test_rates_are_chosen_by_the_weights_and_not_by_the_name(source, prompt, adapters, ia3, tmp_path):
    write_preset(tmp_path / "another" / "mini", num_layers=1)
    t5 = load_t5(source if source == "mini" else tmp_path / source)
    found = {recipe.method: recipe.rate for recipe in reversed(recipes(rates=rates_of(t5.fingerprint), num_labels=2))}

    assert t5.name == "mini"
    assert [found[method] for method in ("prompt_tuning", "adapters", "ia3")] == [prompt, adapters, ia3]
    assert len(sources_of(t5, None)) == (3 if source == "mini" else 0)


def test_chosen_methods_alone_are_tried():
    found = recipes(rates=BUNDLED_RATES, num_labels=2, methods=("late_prompts", "superpos"))

    assert [(recipe.number, recipe.method) for recipe in found] == [(1, "late_prompts"), (2, "superpos")]


def test_the_order_of_the_methods_decides_nothing():
    in_order, backwards = (
        recipes(rates=BUNDLED_RATES, num_labels=2, methods=METHODS_TRIED[::step]) for step in (1, -1)
    )

    assert in_order == backwards


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
    found = recipes(rates=BUNDLED_RATES, num_labels=2, is_short=is_short)

    methods = {recipe.method for recipe in found if recipe.group == ("front", 20)}
    assert methods == {"prompt_tuning", "superpos", "residual"}


@pytest.mark.parametrize(
    ("methods", "number", "method"),
    [
        (METHODS_TRIED, 2, "prompt_tuning"),
        (("ia3", "adapters"), 1, "ia3"),
        (("adapters", "late_prompts"), IN_FRONT, "prompt_tuning"),
    ],
    ids=["a prompt in front", "no prompt", "cached states alone"],
)
def test_the_dearest_kind_of_step_is_measured(methods, number, method):
    allowed, every = (recipes(rates=BUNDLED_RATES, num_labels=2, methods=names) for names in (methods, METHODS_TRIED))

    measured = to_measure(allowed, every)

    assert (measured.number, measured.method) == (number, method)
