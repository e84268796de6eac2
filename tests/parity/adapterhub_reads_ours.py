"""Load the folders that `compare.py` wrote with AdapterHub's `adapters`, and compare the logits with those under its own.

    python tests/parity/adapterhub_reads_ours.py OUTPUT_DIRECTORY

Needs the environment of `record_adapters.py`. Ends with status 1 where a logit differs by more than 1e-4, or a tensor is missing.
"""

import sys
import tempfile
from pathlib import Path

import adapters
import numpy as np
import t5_models
import torch
import transformers
from record_adapters import with_flexible_head

LIMIT = 1e-4


def loaded(folder, name):
    """Return a T5 with an adapter's folder, and the names of tensors that were not as the library wants them."""
    with tempfile.TemporaryDirectory() as place:
        directory = t5_models.write_model(place, t5_models.BOTTLENECKS[name][0])
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32)
    if name in t5_models.WITH_INVERTIBLE:
        model = with_flexible_head(model)
    else:
        adapters.init(model)
    found = {}
    model.load_adapter(str(folder), use_safetensors=True, set_active=True, loading_info=found)
    return model.eval(), [*found["missing_keys"], *found["unexpected_keys"]]


def main(output):
    is_good = True
    print("| case | logits apart | tensors that do not fit |")
    print("|---|---|---|")
    for name, (case, _) in t5_models.BOTTLENECKS.items():
        model, wrong = loaded(output / f"{name}_ours", name)
        ids, mask, targets = (torch.from_numpy(array) for array in t5_models.inputs(case))
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=targets).logits.numpy()
        apart = np.abs(logits - np.load(output / f"{name}.npz")["logits"]).max()
        print(f"| {name} | {apart:.1e} | {len(wrong)} |")
        is_good &= bool(apart <= LIMIT) and not wrong
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
