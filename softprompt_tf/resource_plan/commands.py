"""`softprompt plan`: the memory, the work and the time of a run, before anything is loaded."""

import argparse
import json
from pathlib import Path
from typing import Any

from softprompt_tf.config import RunConfig, load_config, run_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.resource_plan.source_form import check_source, form_of
from softprompt_tf.settings.shipped_configs import find_config, shipped_configs
from softprompt_tf.settings.spelling import nearest_method

_DEFAULT_TARGETS = 32


def add_commands(commands: Any) -> None:
    """Add the command to the sub-parsers of `softprompt`."""
    plan = commands.add_parser(
        "plan", help="estimate what training takes: memory by part, operations, seconds; loads no weights"
    )
    plan.add_argument(
        "source",
        help="a run's config (a YAML file, or the name of a shipped one); or a T5: a size such as xxl or mt5_xl, a bundled name, a "
        "KerasHub preset, or the folder of a checkpoint",
    )
    plan.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings of the run, such as prompt.length=100"
    )
    plan.add_argument(
        "--method",
        help=f"what is trained, where the source is a T5 and no config: {', '.join(METHODS)}. Default: prompt_tuning",
    )
    plan.add_argument("--batch-size", type=int, help="rows in a step; default: the config's, or 32")
    plan.add_argument("--input-tokens", type=int, help="tokens of the longest text; default: the config's, or 512")
    plan.add_argument("--target-tokens", type=int, help="tokens of the longest target; default: the config's, or 32")
    plan.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="what the T5 computes in; default: the config's, or float32"
    )
    plan.add_argument(
        "--quantization", choices=("int8", "int4"), help="how the projections are stored; default: as --dtype"
    )
    plan.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="keep only the input of each layer, and compute the rest again",
    )
    plan.add_argument("--micro-batch-size", type=int, help="rows that run at a time; default: the config's, or all")
    plan.add_argument(
        "--served-tasks", type=int, default=1, help="tasks in an export, for the size of its tables; default: 1"
    )
    plan.add_argument(
        "--devices", type=int, help="number of devices that share the T5's layers; default: the config's, or one"
    )
    plan.add_argument("--memory", help="the memory that it must fit into, such as 16GB")
    rate = plan.add_mutually_exclusive_group()
    rate.add_argument(
        "--measure",
        action="store_true",
        help="measure this machine for about a second, to estimate the seconds of a step",
    )
    rate.add_argument(
        "--flops-per-second",
        type=float,
        help="the rate of another machine, such as 100e12, to estimate the seconds of a step",
    )
    plan.add_argument("--json", action="store_true", help="print JSON: bytes, operations and seconds as plain numbers")
    plan.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    config = _config(arguments)
    check_source(config.backbone)
    from softprompt_tf.resource_plan.report import as_dictionary, lines
    from softprompt_tf.resource_plan.resource_plan import plan

    settings = _settings(arguments, config)
    rate = arguments.flops_per_second
    if arguments.measure:
        from softprompt_tf.resource_plan.rate import measured_rate

        rate = measured_rate(form_of(config.backbone)[1], dtype=settings["dtype"])
    made = plan(config.backbone, flops_per_second=rate, memory=arguments.memory, **settings)
    if arguments.json:
        print(json.dumps({**as_dictionary(made), "flops_per_second": rate}))
        return
    if arguments.measure:
        print(f"measured: {rate / 1e9:.0f} GFLOP/s\n")
    print("\n".join(lines(made)))


def _config(arguments: argparse.Namespace) -> RunConfig:
    source = arguments.source
    is_file = Path(source).suffix in (".yaml", ".yml")
    if is_file or (source in shipped_configs("runs") and not Path(source).is_dir()):
        if arguments.method is not None:
            raise ConfigError(
                f"`--method` is for a T5. Received: the config {source}. Use prompt.method={arguments.method}."
            )
        return load_config(find_config(source, "runs"), arguments.overrides)
    method = arguments.method or "prompt_tuning"
    if method not in METHODS:
        raise ConfigError(
            f"`--method` must be one of {', '.join(METHODS)}. Received: {method}.{nearest_method(method, METHODS)}"
        )
    task = {"name": "task", "inputs": "{text}", "labels": {"0": "negative", "1": "positive"}}
    values = {"backbone": source, "task": task, "prompt": {"method": method}, "output_dir": "unused"}
    return run_config(values, arguments.overrides)


def _settings(arguments: argparse.Namespace, config: RunConfig) -> dict[str, Any]:
    """Return the arguments of `plan`; what an option says goes before the config."""
    training = config.training
    starts = [TaskStart(task.name, tuple((task.labels or {}).values()), task.inputs) for task in config.tasks]
    method = config.prompt.make(starts, seed=config.seed)
    targets = max((task.max_target_tokens or _DEFAULT_TARGETS for task in config.tasks), default=_DEFAULT_TARGETS)
    if training.optimizer == "autoprompt":
        raise ConfigError(
            "A plan is for optimizers with slots. Received: training.optimizer=autoprompt. "
            "Use adafactor, adam, schedule_free_adam or prodigy."
        )
    precision = "float32" if training.precision == "auto" else training.precision
    return {
        "method": method,
        "batch_size": _first(arguments.batch_size, training.batch_size),
        "input_tokens": _first(arguments.input_tokens, max(task.max_input_tokens for task in config.tasks)),
        "target_tokens": _first(arguments.target_tokens, targets),
        "dtype": _first(arguments.dtype, precision),
        "quantization": arguments.quantization,
        "gradient_checkpointing": arguments.gradient_checkpointing or training.gradient_checkpointing,
        "micro_batch_size": _first(arguments.micro_batch_size, training.micro_batch_size),
        "cached_states": False if training.cached_states == "off" else "auto",
        "optimizer": training.optimizer,
        "served_tasks": arguments.served_tasks,
        "devices": _first(arguments.devices, training.devices and len(training.devices)),
    }


def _first(given: Any, default: Any) -> Any:
    return default if given is None else given
