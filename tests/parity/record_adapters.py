"""Run AdapterHub's `adapters` on small T5s of `t5_models.py` and keep its logits; needs torch, not TensorFlow.

    python tests/parity/record_adapters.py OUTPUT_DIRECTORY

writes NAME.npz for each of `t5_models.BOTTLENECKS`, and the adapter as a folder NAME_adapter. `adapters` wants an older
transformers than `record.py`, so this has an environment of its own (`requirements-adapters.txt`).
"""

import json
import sys
import tempfile
from pathlib import Path

import adapters
import numpy as np
import t5_models
import torch
import transformers

# This library's name of a place -> AdapterHub's modules, by layer.
PLACES = {
    "encoder_attention_adapter": "encoder.block.{}.layer.0",
    "encoder_feed_forward_adapter": "encoder.block.{}.layer.1",
    "decoder_attention_adapter": "decoder.block.{}.layer.0",
    "cross_attention_adapter": "decoder.block.{}.layer.1",
    "decoder_feed_forward_adapter": "decoder.block.{}.layer.2",
}
PARTS = {
    "down": ("adapter_down.0.weight", lambda value: value),
    "down_bias": ("adapter_down.0.bias", lambda value: value),
    "up": ("adapter_up.weight", np.transpose),
    "up_bias": ("adapter_up.bias", lambda value: value[0]),
}
# The same of an invertible adapter, where F changes the first half of a vector and G the second one.
INVERTIBLE_PARTS = {
    f"{part}.{end}": (f"encoder.invertible_adapters.a.{block}.{ours}", turned)
    for part, block in (("first", "F"), ("second", "G"))
    for end, (ours, turned) in {
        "down": ("0.weight", lambda value: value),
        "down_bias": ("0.bias", lambda value: value),
        "up": ("2.weight", np.transpose),
        "up_bias": ("2.bias", lambda value: value[0]),
    }.items()
}


def with_bottlenecks(model, name):
    """Put AdapterHub's adapters into a model, with the values of `t5_models.bottlenecks`."""
    _, after_attention = t5_models.BOTTLENECKS[name]
    is_invertible = name in t5_models.WITH_INVERTIBLE
    kind = adapters.DoubleSeqBnConfig if after_attention else adapters.SeqBnConfig
    config = kind(
        non_linearity="gelu_new",  # GELU in its tanh form
        reduction_factor=model.config.d_model / t5_models.BOTTLENECK_DIM,
        cross_adapter=after_attention,
        original_ln_before=False,  # else Pfeiffer's reads the sum with the states, as BERT's norm gives it
        inv_adapter="nice" if is_invertible else None,
        inv_adapter_reduction_factor=2,
    )
    if is_invertible:
        model = with_flexible_head(model)  # the class that applies the inverse before its head
    else:
        adapters.init(model)
    model.add_adapter("a", config=config)
    model.set_active_adapters("a")
    parameters = {key.removeprefix("transformer."): value for key, value in model.named_parameters()}
    left = {key for key in parameters if "adapters.a." in key}
    for key, values in t5_models.bottlenecks(name).items():
        place, _, part = key.partition(".")
        if place == "invertible_adapter":
            there, turned = INVERTIBLE_PARTS[part]
            with torch.no_grad():
                parameters[there][:] = torch.from_numpy(np.ascontiguousarray(turned(values)))
            left.remove(there)
            continue
        end, turned = PARTS[part]
        for layer in range(values.shape[1]):
            there = f"{PLACES[place].format(layer)}.adapters.a.{end}"
            with torch.no_grad():
                parameters[there][:] = torch.from_numpy(np.ascontiguousarray(turned(values[:, layer])))
            left.remove(there)
    assert not left, left
    return model.eval()


def with_flexible_head(model):
    """Return a T5AdapterModel with the weights of a T5 and its head."""
    flexible = adapters.T5AdapterModel(model.config)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("lm_head")}
    flexible.transformer.load_state_dict(state)
    flexible.add_seq2seq_lm_head("head")
    with torch.no_grad():
        flexible.heads["head"][0].weight[:] = model.lm_head.weight
    flexible.active_head = "head"
    return flexible


def save(model, folder, case):
    """Save the adapter as a folder, with the model's name in the place of where it was read from."""
    model.save_adapter(str(folder), "a", with_head=False, use_safetensors=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"model_name": case}, indent=2, sort_keys=True))


def main(output):
    output.mkdir(parents=True, exist_ok=True)
    versions = f"transformers {transformers.__version__}, adapters {adapters.__version__}, torch {torch.__version__}"
    print(versions)
    for name, (case, _) in t5_models.BOTTLENECKS.items():
        with tempfile.TemporaryDirectory() as place:
            directory = t5_models.write_model(place, case)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32)
        ids, mask, targets = (torch.from_numpy(array) for array in t5_models.inputs(case))
        with torch.no_grad():
            adapted = with_bottlenecks(model, name)
            result = adapted(input_ids=ids, attention_mask=mask, decoder_input_ids=targets)
        save(adapted, output / f"{name}_adapter", case)
        np.savez_compressed(output / f"{name}.npz", logits=result.logits.numpy(), versions=np.array(versions))
        print(f"{name}: logits up to {result.logits.abs().max():.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
