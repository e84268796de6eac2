"""Compare this library with what `record.py` and `record_adapters.py` kept, print a table, and write our prompts as PEFT adapters.

    python tests/parity/compare.py OUTPUT_DIRECTORY

Ends with status 1 where logits differ by more than 1e-4 or a token differs.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import t5_models
from answers import (
    answers,
    answers_under_tensors,
    logits_under_bottlenecks,
    logits_under_prompts,
    logits_under_tensors,
    made_prompts,
    until_end,
    watched_mask,
)
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import load_t5
from softprompt_tf.methods import TaskPrompt, load_prompt, write_adapterhub_adapter
from softprompt_tf.methods.files.foreign_formats import write_peft_adapter

LIMIT = 1e-4


def same_tokens(ours, theirs):
    return sum(until_end(a) == until_end(b) for a, b in zip(ours, theirs, strict=True))


def prefix_is_good(output, case, t5):
    """Compare a prefix with and without positions, print a row for each, and write it as an adapter."""
    recorded, task_prompt = np.load(output / f"{case}_prefix.npz"), load_prompt(output / f"{case}_prefix_adapter")
    values, is_good = task_prompt.tensors["decoder_past_key_values"], True
    for name, kind in (("decoder_past_key_values", ""), ("decoder_key_values", "_without_positions")):
        logits, tokens = answers_under_tensors(t5, case, {name: values})
        apart = np.abs(logits - recorded[f"logits{kind}"]).max()
        same = same_tokens(tokens, recorded[f"tokens{kind}"])
        print(f"| {case}, a prefix{kind.replace('_', ' ')} | | | | | {apart:.1e} | {same} of {len(tokens)} |")
        is_good &= bool(apart <= LIMIT) and same == len(tokens)
    write_peft_adapter(output / f"{case}_prefix_ours", task_prompt)
    write_own_prefix(output, case, t5)
    return is_good


def write_own_prefix(output, case, t5):
    """Write a prefix that PEFT cannot train, as no two layers of it have the same, and keep our answers for `peft_reads_ours`."""
    tensors = {"decoder_past_key_values": t5_models.own_prefix(case)}
    logits, tokens = answers_under_tensors(t5, case, tensors)
    np.savez_compressed(output / f"{case}_own_prefix.npz", logits=logits, tokens=tokens)
    write_peft_adapter(output / f"{case}_own_prefix_ours", TaskPrompt(tensors=tensors, method="prefix_tuning"))


def made_prompts_are_good(output, case, t5):
    """Compare the prompts that P-tuning and MPT make, and the logits under them; print a row for each."""
    recorded, is_good = np.load(output / "made_prompts.npz"), True
    for kind in t5_models.MADE_PROMPTS:
        prompts = made_prompts(kind)
        apart = np.abs(logits_under_prompts(t5, case, prompts) - recorded[f"{kind}_logits"]).max()
        print(f"| {case}, {kind.replace('_', ' ')} | | | | | {apart:.1e} | |")
        is_good &= bool(apart <= LIMIT and np.abs(prompts - recorded[f"{kind}_prompts"]).max() <= LIMIT)
    return is_good


def module_adapter_is_good(output, name, t5):
    """Compare an adapter that changes modules, print a row for it, and write it as an adapter."""
    recorded, task_prompt = np.load(output / f"{name}.npz"), load_prompt(output / f"{name}_adapter")
    logits, tokens = answers_under_tensors(t5, t5_models.MODULE_ADAPTERS[name][0], task_prompt.tensors)
    apart, same = np.abs(logits - recorded["logits"]).max(), same_tokens(tokens, recorded["tokens"])
    print(f"| {name} | | | | | {apart:.1e} | {same} of {len(tokens)} |")
    write_peft_adapter(output / f"{name}_ours", task_prompt)
    return bool(apart <= LIMIT) and same == len(tokens)


def bottlenecks_are_good(output, name, t5):
    """Compare the logits under adapters, and under AdapterHub's own folder, with those of AdapterHub, and print a row."""
    case, task_prompt = t5_models.BOTTLENECKS[name][0], load_prompt(output / f"{name}_adapter")
    found = (logits_under_bottlenecks(t5, name), logits_under_tensors(t5, case, task_prompt.tensors))
    write_adapterhub_adapter(output / f"{name}_ours", task_prompt)
    apart = max(np.abs(logits - np.load(output / f"{name}.npz")["logits"]).max() for logits in found)
    print(f"| {name} | | | | | {apart:.1e} | |")
    return bool(apart <= LIMIT)


def main(output):
    vocabulary = output / "tiny.spm"  # of no account here: ids go in and come out
    vocabulary.write_bytes(tiny_vocabulary())
    is_good = True
    print("| case | encoder output | logits | largest logit | tokens | logits with prompt | tokens with prompt |")
    print("|---|---|---|---|---|---|---|")
    for case in t5_models.CASES:
        recorded = np.load(output / f"{case}.npz")
        adapter = load_prompt(output / f"{case}_adapter")
        with tempfile.TemporaryDirectory() as place:
            t5 = load_t5(t5_models.write_model(place, case), vocabulary=vocabulary, name=case)
        encoder_output, logits, tokens = answers(t5, case)
        _, prompted_logits, prompted_tokens = answers(t5, case, adapter.prompt)
        mask = watched_mask()
        apart = {
            "encoder": np.abs(encoder_output - recorded["encoder_output"])[mask].max(),
            "logits": np.abs(logits - recorded["logits"]).max(),
            "prompted": np.abs(prompted_logits - recorded["prompted_logits"]).max(),
        }
        rows = len(tokens)
        same = same_tokens(tokens, recorded["tokens"])
        same_prompted = same_tokens(prompted_tokens, recorded["prompted_tokens"])
        print(
            f"| {case} | {apart['encoder']:.1e} | {apart['logits']:.1e} | {np.abs(logits).max():.1f} | {same} of {rows} | "
            f"{apart['prompted']:.1e} | {same_prompted} of {rows} |"
        )
        is_good &= max(apart.values()) <= LIMIT and same == same_prompted == rows
        write_peft_adapter(output / f"{case}_ours", adapter)
        if case in t5_models.PREFIX_CASES:
            is_good &= prefix_is_good(output, case, t5)
        if case == t5_models.MADE_CASE:
            is_good &= made_prompts_are_good(output, case, t5)
        for name, (model, _, _) in t5_models.MODULE_ADAPTERS.items():
            if model == case:
                is_good &= module_adapter_is_good(output, name, t5)
        for name, (model, _) in t5_models.BOTTLENECKS.items():
            if model == case:
                is_good &= bottlenecks_are_good(output, name, t5)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
