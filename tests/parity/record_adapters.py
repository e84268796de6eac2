"""Run AdapterHub's `adapters` on small T5s of `t5_models.py` and keep its logits; needs torch, not TensorFlow.

    python tests/parity/record_adapters.py OUTPUT_DIRECTORY

writes NAME.npz for each of `t5_models.BOTTLENECKS`. `adapters` wants an older transformers than `record.py`, so this has an
environment of its own (`requirements-adapters.txt`).
"""

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


def with_bottlenecks(model, name):
    """Put AdapterHub's adapters into a model, with the values of `t5_models.bottlenecks`."""
    _, after_attention = t5_models.BOTTLENECKS[name]
    kind = adapters.DoubleSeqBnConfig if after_attention else adapters.SeqBnConfig
    config = kind(
        non_linearity="gelu_new",  # GELU in its tanh form
        reduction_factor=model.config.d_model / t5_models.BOTTLENECK_DIM,
        cross_adapter=after_attention,
        original_ln_before=False,  # else Pfeiffer's reads the sum with the states, as BERT's norm gives it
    )
    adapters.init(model)
    model.add_adapter("a", config=config)
    model.set_active_adapters("a")
    parameters = dict(model.named_parameters())
    left = {key for key in parameters if ".adapters.a." in key}
    for key, values in t5_models.bottlenecks(name).items():
        place, _, part = key.partition(".")
        end, turned = PARTS[part]
        for layer in range(values.shape[1]):
            there = f"{PLACES[place].format(layer)}.adapters.a.{end}"
            with torch.no_grad():
                parameters[there][:] = torch.from_numpy(np.ascontiguousarray(turned(values[:, layer])))
            left.remove(there)
    assert not left, left
    return model.eval()


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
            result = with_bottlenecks(model, name)(input_ids=ids, attention_mask=mask, decoder_input_ids=targets)
        np.savez_compressed(output / f"{name}.npz", logits=result.logits.numpy(), versions=np.array(versions))
        print(f"{name}: logits up to {result.logits.abs().max():.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
