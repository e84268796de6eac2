"""Run transformers and PEFT on the small T5s of `t5_models.py` and keep what they answer; needs torch, not TensorFlow.

    python tests/parity/record.py OUTPUT_DIRECTORY

writes CASE.npz with the encoder output at some positions, the logits, 16 greedily decoded tokens, and the same with a PEFT
prompt in front; and the PEFT adapters as folders CASE_adapter. For some cases also CASE_prefix.npz with logits and tokens under
a PEFT prefix, and the same where the prefix has no positions, and CASE_prefix_adapter. For one case made_prompts.npz with the
prompts that PEFT's P-tuning and MPT make, and the logits under them, and KIND_adapter of P-tuning. For adapters that change
modules NAME.npz with logits and tokens, and NAME_adapter.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import peft
import t5_models
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention


def answers(model, case):
    """Return what a model makes of the case's inputs; a PEFT model puts its prompt in front."""
    ids, mask, targets = (torch.from_numpy(array) for array in t5_models.inputs(case))
    with torch.no_grad():
        result = model(input_ids=ids, attention_mask=mask, decoder_input_ids=targets)
        generated = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=t5_models.NUM_GENERATED, num_beams=1, do_sample=False
        )
    tokens = np.zeros((len(ids), t5_models.NUM_GENERATED), np.int64)
    generated = generated.numpy()[:, 1:]  # without the start id
    tokens[:, : generated.shape[1]] = generated
    return result.encoder_last_hidden_state.numpy(), result.logits.numpy(), tokens


def with_adapter(model, case, directory):
    """Put a prompt in front with PEFT, keep it as an adapter, and return the PEFT model."""
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=t5_models.PROMPT_LENGTH, prompt_tuning_init="RANDOM"
    )
    prompted = peft.get_peft_model(model, config).eval()
    table = prompted.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        table[: t5_models.PROMPT_LENGTH] = torch.from_numpy(t5_models.prompt(case))
    return saved(prompted, directory)


def with_prefix(model, case, directory):
    """Give the decoder a prefix with PEFT, keep it as an adapter, and return the PEFT model."""
    sizes = t5_models.CASES[case]
    config = peft.PrefixTuningConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=t5_models.PROMPT_LENGTH,
        token_dim=sizes["num_heads"] * sizes["d_kv"],  # PEFT would take H, which is not N * D in every T5
    )
    prefixed = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        prefixed.prompt_encoder["default"].embedding.weight[:] = torch.from_numpy(t5_models.prefix_rows(case))
    return saved(prefixed, directory)


@contextlib.contextmanager
def without_positions():
    """Let a prefix of the decoder have no positions: transformers gives it those in front of the target."""
    compute_bias = T5Attention.compute_bias

    def bias(self, query_length, key_length, device=None, past_seen_tokens=0):
        values = compute_bias(self, query_length, key_length, device=device, past_seen_tokens=past_seen_tokens)
        if self.is_decoder and key_length > query_length:
            values[..., : t5_models.PROMPT_LENGTH] = 0
        return values

    T5Attention.compute_bias = bias
    try:
        yield
    finally:
        T5Attention.compute_bias = compute_bias


def with_changed_modules(model, name, directory):
    """Let PEFT change modules by drawn values, keep them as an adapter, and return the PEFT model."""
    _, kind, settings = t5_models.MODULE_ADAPTERS[name]
    changed = peft.get_peft_model(model, getattr(peft, kind)(task_type="SEQ_2_SEQ_LM", **settings)).eval()
    trained = {name: value for name, value in changed.named_parameters() if value.requires_grad}
    values = t5_models.module_values({name: tuple(value.shape) for name, value in trained.items()})
    with torch.no_grad():
        for name, value in trained.items():
            value[:] = torch.from_numpy(values[name])
    return saved(changed, directory)


def saved(prompted, directory):
    """Write a PEFT model's adapter without what is of this machine; return the model."""
    prompted.save_pretrained(directory)
    settings = json.loads((directory / "adapter_config.json").read_text())
    name = directory.name.removesuffix("_adapter").removesuffix("_prefix")
    settings["base_model_name_or_path"] = t5_models.MODULE_ADAPTERS.get(name, (name,))[
        0
    ]  # and not a place that is gone
    for name in ("target_modules", "feedforward_modules"):
        if isinstance(settings.get(name), list):
            settings[name].sort()  # PEFT has sets
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (directory / "README.md").unlink()  # PEFT's empty form of a model card
    return prompted


def record_prefix(output, case, directory, versions):
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
    prefixed = with_prefix(model, case, output / f"{case}_prefix_adapter")
    _, logits, tokens = answers(prefixed, case)
    with without_positions():
        _, logits_without, tokens_without = answers(prefixed, case)
    np.savez_compressed(
        output / f"{case}_prefix.npz",
        logits=logits,
        tokens=tokens,
        logits_without_positions=logits_without,
        tokens_without_positions=tokens_without,
        versions=np.array(versions),
    )


def under_made_prompt(output, directory, kind):
    """Return the prompts [3, P, H] that PEFT makes of a kind's values, one for each input, and the logits under them.

    P-tuning's adapter is kept.
    """
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
    shared = {
        "task_type": "SEQ_2_SEQ_LM",
        "num_virtual_tokens": t5_models.PROMPT_LENGTH,
        "num_transformer_submodules": 1,
    }
    if kind == "mpt":
        config = peft.MultitaskPromptTuningConfig(**shared, num_tasks=2, num_ranks=t5_models.MADE_RANK)
    else:
        network = {"encoder_reparameterization_type": kind.removeprefix("p_tuning_").upper()}
        config = peft.PromptEncoderConfig(**shared, **network, encoder_hidden_size=t5_models.MADE_DIM)
    prompted = peft.get_peft_model(model, config).eval()
    prompted.prompt_encoder["default"].load_state_dict(torch_state(t5_models.made_prompt(kind)))
    ids, mask, targets = (torch.from_numpy(array) for array in t5_models.inputs(t5_models.MADE_CASE))
    tasks = {"task_ids": torch.tensor(t5_models.MADE_TASKS)} if kind == "mpt" else {}
    # As labels, which PEFT hands on in every method: the model puts the start id in front of all but the last of them.
    labels = torch.nn.functional.pad(targets[:, 1:], (0, 1), value=1)
    with torch.no_grad():
        prompts = prompted.get_prompt(batch_size=len(ids), **tasks)
        logits = prompted(input_ids=ids, attention_mask=mask, labels=labels, **tasks).logits
    if kind != "mpt":
        saved(prompted, output / f"{kind}_adapter")
    return prompts.numpy(), logits.numpy()


def torch_state(values):
    """Return this library's values by the names, and in the forms, that PEFT has for them."""
    names = {"shared_rows": "embedding.weight", "rows": "embedding.weight", "task_left": "prefix_task_cols"}
    names |= {"task_right": "prefix_task_rows"}
    state = {}
    layers = [name for name in ("first", "hidden", "output") if f"{name}.kernel" in values]
    for name, value in values.items():
        value = torch.from_numpy(value)
        layer, _, part = name.rpartition(".")
        if name in names:
            state[names[name]] = value
        elif layer in layers:
            weight = f"mlp_head.{2 * layers.index(layer)}"  # a ReLU follows each
            state[f"{weight}.{'weight' if part == 'kernel' else 'bias'}"] = value.T if part == "kernel" else value
        else:
            number, _, direction = layer.removeprefix("lstm_").partition(".")
            end = f"l{number}{'_reverse' if direction == 'backward' else ''}"
            if part == "bias":
                state[f"lstm_head.bias_ih_{end}"] = value
                state[f"lstm_head.bias_hh_{end}"] = torch.zeros_like(value)  # torch has two, which it adds
            else:
                state[f"lstm_head.weight_{'ih' if part == 'kernel' else 'hh'}_{end}"] = value.T
    return state


def record_made_prompts(output, directory, versions):
    recorded = {}
    for kind in t5_models.MADE_PROMPTS:
        recorded[f"{kind}_prompts"], recorded[f"{kind}_logits"] = under_made_prompt(output, directory, kind)
    np.savez_compressed(output / "made_prompts.npz", **recorded, versions=np.array(versions))


def record_module_adapters(output, versions):
    for name, (case, _, _) in t5_models.MODULE_ADAPTERS.items():
        with tempfile.TemporaryDirectory() as place:
            directory = t5_models.write_model(place, case)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
            _, logits, tokens = answers(with_changed_modules(model, name, output / f"{name}_adapter"), case)
        np.savez_compressed(output / f"{name}.npz", logits=logits, tokens=tokens, versions=np.array(versions))


def main(output):
    output.mkdir(parents=True, exist_ok=True)
    versions = f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}"
    print(versions)
    for case in t5_models.CASES:
        with tempfile.TemporaryDirectory() as place:
            directory = t5_models.write_model(place, case)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
            encoder_output, logits, tokens = answers(model, case)
            _, prompted_logits, prompted_tokens = answers(with_adapter(model, case, output / f"{case}_adapter"), case)
            if case in t5_models.PREFIX_CASES:
                record_prefix(output, case, directory, versions)
            if case == t5_models.MADE_CASE:
                record_made_prompts(output, directory, versions)
        np.savez_compressed(
            output / f"{case}.npz",
            encoder_output=encoder_output[:, t5_models.watched_positions()],
            logits=logits,
            tokens=tokens,
            prompted_logits=prompted_logits,
            prompted_tokens=prompted_tokens,
            versions=np.array(versions),
        )
        print(f"{case}: logits up to {np.abs(logits).max():.1f}, tokens {tokens[0].tolist()}")
    record_module_adapters(output, versions)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
