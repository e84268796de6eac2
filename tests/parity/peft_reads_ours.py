"""Load the adapters that `compare.py` wrote with PEFT, and compare the logits and tokens with those of PEFT's own adapter.

    python tests/parity/peft_reads_ours.py OUTPUT_DIRECTORY

Needs torch, not TensorFlow. Ends with status 1 where a logit differs by more than 1e-6; or by more than 1e-4 under an adapter that
changes modules, as a scale is in its matrices, or under a prefix that PEFT cannot train, which is compared with our own logits; or
where a token differs.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import peft
import t5_models
import torch
import transformers
from record import answers

LIMIT, LIMIT_OF_OTHERS = 1e-6, 1e-4


def main(output):
    is_good = True
    print("| case | logits apart | tokens |")
    print("|---|---|---|")
    prefixed = [f"{case}_prefix" for case in t5_models.PREFIX_CASES]
    models = {name: case for name, (case, _, _) in t5_models.MODULE_ADAPTERS.items()}
    models |= {f"{case}_own_prefix": case for case in t5_models.PREFIX_CASES}
    for name in [*t5_models.CASES, *prefixed, *models]:
        case = models.get(name, name.removesuffix("_prefix"))
        recorded = np.load(output / f"{name}.npz")
        kept = "" if name in [*prefixed, *models] else "prompted_"
        with tempfile.TemporaryDirectory() as place:
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                t5_models.write_model(place, case), dtype=torch.float32
            )
            prompted = peft.PeftModel.from_pretrained(model, output / f"{name}_ours").eval()
            _, logits, tokens = answers(prompted, case)
        apart = np.abs(logits - recorded[f"{kept}logits"]).max()
        same = int((tokens == recorded[f"{kept}tokens"]).all(axis=1).sum())
        print(f"| {name} | {apart:.1e} | {same} of {len(tokens)} |")
        is_good &= bool(apart <= (LIMIT_OF_OTHERS if name in models else LIMIT)) and same == len(tokens)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
