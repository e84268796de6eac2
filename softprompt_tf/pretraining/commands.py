"""`softprompt pretrain` and `softprompt adapt`: train all weights of a T5 on text."""

import argparse
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP
from softprompt_tf.errors import ConfigError
from softprompt_tf.pretraining.batches import Mixture
from softprompt_tf.pretraining.corpus import MIN_CHARACTERS, check_source
from softprompt_tf.settings.spelling import check_files

_OBJECTIVES = ("span_corruption", "prefix_lm", "instructions")


def add_commands(commands: Any) -> None:
    """Add both commands to the sub-parsers of `softprompt`."""
    pretrain = commands.add_parser(
        "pretrain",
        help="train a small T5 from nothing on text files; continues where it was stopped",
    )
    _add_shared(pretrain, objective="span_corruption", steps=6000, cooldown_steps=1000, learning_rate=2e-2)
    pretrain.add_argument("--vocabulary", help="a SentencePiece model; default: one is trained on the texts")
    pretrain.add_argument("--layers", type=int, default=4, help="layers of the encoder, and of the decoder")
    pretrain.add_argument("--hidden", type=int, default=256, help="width of the model")
    pretrain.add_argument("--feed-forward", type=int, default=512, help="width of the feed-forward blocks")
    pretrain.add_argument("--heads", type=int, default=4, help="attention heads of 64 each")
    pretrain.add_argument(
        "--rows", type=int, default=8192, help="rows of the embedding table; 100 of them are sentinels"
    )
    pretrain.set_defaults(run=_pretrain)

    adapt = commands.add_parser(
        "adapt",
        help="train a T5 further, by default to continue plain text (LM adaptation); continues where it was stopped",
    )
    adapt.add_argument("backbone", help=BACKBONE_HELP)
    # 1e-3 relative to each parameter is where T5's own schedule, 1 / sqrt(step), ended after 1 M steps.
    _add_shared(adapt, objective="prefix_lm", steps=1000, cooldown_steps=100, learning_rate=1e-3)
    adapt.set_defaults(run=_adapt)


def _add_shared(
    parser: argparse.ArgumentParser, *, objective: str, steps: int, cooldown_steps: int, learning_rate: float
) -> None:
    _add_text_options(parser, objective)
    parser.add_argument("--steps", type=int, default=steps, help="training steps, one batch each")
    parser.add_argument("--cooldown-steps", type=int, default=cooldown_steps, help="linear decay to zero at the end")
    parser.add_argument("--warmup-steps", type=int, default=100, help="linear rise from zero at the start")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=learning_rate,
        help="the highest rate, relative to the size (RMS) of each weight",
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="rows of a batch; twice as many for instruction tasks"
    )
    parser.add_argument("--window", type=int, default=128, help="tokens of a piece of text")
    parser.add_argument("--max-documents", type=int, help="read only this many documents of each source")
    _add_log_options(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="bfloat16",
        help="precision of activations and matrix products; on a CPU without AMX, float32 may be faster",
    )
    parser.add_argument(
        "--strategy", default="default", help="default (one device), mirrored (all accelerators of this machine) or tpu"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the first weights and of the batches")
    parser.set_defaults(default_objective=objective)


def _add_text_options(parser: argparse.ArgumentParser, objective: str) -> None:
    parser.add_argument(
        "--text",
        action="append",
        required=True,
        metavar="[KIND=]SOURCE",
        help="a file with one document per line (plain, .gz, .xz), or TFDS_NAME@SPLIT[#FIELD]; may be repeated. Lines of "
        f"fewer than {MIN_CHARACTERS} characters are left out. "
        'KIND, such as book or article, is "text" where it is left out',
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="run directory; OUTPUT/preset is the result",
    )
    parser.add_argument(
        "--objective",
        action="append",
        metavar="NAME=WEIGHT",
        help=f"what is trained: {', '.join(_OBJECTIVES)}; may be repeated. Default: {objective}=1",
    )
    parser.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="KIND=WEIGHT",
        help="how often texts of a kind are drawn; may be repeated",
    )
    parser.add_argument(
        "--task-weight",
        action="append",
        default=[],
        metavar="TASK=WEIGHT",
        help="how often an instruction task is drawn, instead of its own weight; 0 leaves it out; may be repeated",
    )


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--log-every", type=int, default=20, help="steps between lines of the log")
    parser.add_argument("--measure-every", type=int, default=500, help="steps between losses on held-out text")
    parser.add_argument(
        "--measure-text",
        metavar="SOURCE",
        help="a text that is not trained on: its bits per byte are logged with the losses on held-out text",
    )
    parser.add_argument("--measure-documents", type=int, default=200, help="how many documents of that text are drawn")


def _pretrain(arguments: argparse.Namespace) -> None:
    check_files([arguments.vocabulary] if arguments.vocabulary else [])
    shared = _shared(arguments)
    from softprompt_tf.pretraining.backbone import BackboneShape
    from softprompt_tf.pretraining.training_directory import pretrain

    shape = BackboneShape(
        vocabulary_size=arguments.rows,
        hidden_dim=arguments.hidden,
        intermediate_dim=arguments.feed_forward,
        num_layers=arguments.layers,
        num_heads=arguments.heads,
    )
    pretrain(**shared, shape=shape, vocabulary=arguments.vocabulary)


def _adapt(arguments: argparse.Namespace) -> None:
    shared = _shared(arguments)
    from softprompt_tf.pretraining.training_directory import adapt

    adapt(arguments.backbone, **shared)


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    mixture, texts = _mixture(arguments), [_text(text) for text in arguments.text]
    kind_weights = dict(_weight(pair, "--weight") for pair in arguments.weight)
    for source in [*(source for _, source in texts), arguments.measure_text]:
        check_source(source)

    from softprompt_tf.pretraining.pretrainer import PretrainingRun
    from softprompt_tf.training.distribution import check_is_one_process, make_strategy

    check_is_one_process(arguments.strategy, "Pretraining")

    run = PretrainingRun(
        steps=arguments.steps,
        peak_learning_rate=arguments.learning_rate,
        warmup_steps=arguments.warmup_steps,
        cooldown_steps=arguments.cooldown_steps,
        checkpoint_every=arguments.checkpoint_every,
        log_every=arguments.log_every,
        measure_every=arguments.measure_every,
        seed=arguments.seed,
        precision=arguments.precision,
    )
    return {
        "texts": texts,
        "output": arguments.output,
        "run": run,
        "mixture": mixture,
        "kind_weights": kind_weights,
        "max_documents": arguments.max_documents,
        "measure_text": arguments.measure_text,
        "measure_documents": arguments.measure_documents,
        "strategy": make_strategy(arguments.strategy),
    }


def _mixture(arguments: argparse.Namespace) -> Mixture:
    weights = dict.fromkeys(_OBJECTIVES, 0.0)
    for pair in arguments.objective or [f"{arguments.default_objective}=1"]:
        name, weight = _weight(pair, "--objective")
        if name not in weights:
            raise ConfigError(f"`--objective` must be one of {', '.join(_OBJECTIVES)}. Received: {name!r}.")
        weights[name] = weight
    if not sum(weights.values()):
        raise ConfigError("At least one `--objective` must have a weight above 0.")
    rows = arguments.batch_size
    return Mixture(
        span_corruption=weights["span_corruption"],
        prefix_lm=weights["prefix_lm"],
        instructions=weights["instructions"],
        rows=rows,
        instruction_rows=2 * rows,
        window=arguments.window,
        task_weights=dict(_weight(pair, "--task-weight") for pair in arguments.task_weight),
    )


def _text(text: str) -> tuple[str, str]:
    """Split KIND=SOURCE; without a kind it is a text."""
    kind, separator, source = text.partition("=")
    return (kind, source) if separator and kind and "/" not in kind else ("text", text)


def _weight(pair: str, option: str) -> tuple[str, float]:
    name, _, weight = pair.partition("=")
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if not name or not 0 <= value < float("inf"):
        raise ConfigError(f"`{option}` must be NAME=WEIGHT with a weight of at least 0. Received: {pair!r}.")
    return name, value
