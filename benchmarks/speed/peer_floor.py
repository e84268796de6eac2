"""Resident memory of a process of PEFT's, from Python itself to a first answer or three training steps; printed as JSON."""

import json
import sys

from benchmarks.speed.protocol import resident_mb


def main() -> None:
    """Note the memory after each part of `benchmarks.measured_tables.process_floor.PARTS`."""
    directory, case = sys.argv[1], json.loads(sys.argv[2])
    notes = [resident_mb()]
    import torch

    notes.append(resident_mb())
    from benchmarks.speed import peer_worker  # transformers and PEFT

    peft, transformers = peer_worker.peft, peer_worker.transformers
    load = transformers.AutoModelForSeq2SeqLM.from_pretrained
    notes.append(resident_mb())
    frozen = load(directory, dtype=torch.float32)
    notes.append(resident_mb())
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=case["prompt"], num_transformer_submodules=1
    )
    peer_worker.KINDS[case["kind"]](peft.get_peft_model(frozen, config), case)
    print(json.dumps([*notes, resident_mb()]))


if __name__ == "__main__":
    main()
