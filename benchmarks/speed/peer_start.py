"""From nothing to an answer on PEFT's side: import, load, generate once from token ids. Prints the seconds of each as JSON."""

import json
import os
import sys
import time
from itertools import pairwise

from benchmarks.speed import inputs


def main() -> None:
    """Time the three."""
    model_directory, tokens = sys.argv[1], int(sys.argv[2])
    moments = [time.perf_counter()]
    import peft
    import torch
    import transformers

    moments.append(time.perf_counter())
    torch.set_num_threads(os.cpu_count() or 1)
    frozen = transformers.AutoModelForSeq2SeqLM.from_pretrained(model_directory, dtype=torch.float32)
    config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=20, num_transformer_submodules=1)
    model = peft.get_peft_model(frozen, config).eval()
    moments.append(time.perf_counter())
    ids = torch.from_numpy(inputs.source(1, 25))
    for _ in range(2):
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
        moments.append(time.perf_counter())
    names = ("import", "load", "first answer", "second answer")
    print(json.dumps(dict(zip(names, (b - a for a, b in pairwise(moments)), strict=True))))


if __name__ == "__main__":
    main()
