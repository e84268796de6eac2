"""Write `recorded/prodigy.json`: what the authors' Prodigy does in the cases of `prodigy_cases.py`, in float32.

python -m pip install prodigyopt==1.1.2
PYTHONPATH=tests/parity python tests/parity/record_prodigy.py
"""

import json
from pathlib import Path

import numpy as np
import prodigy_cases
import torch
from prodigyopt import Prodigy


def record(settings, rates):
    """Return d after each step, and the values after the last one."""
    names = {"beta_3": "beta3", "epsilon": "eps"}
    own = {names.get(name, name): value for name, value in settings.items()}
    own["betas"] = (own.pop("beta_1", 0.9), own.pop("beta_2", 0.999))
    values = [torch.nn.Parameter(torch.tensor(value)) for value in prodigy_cases.VALUES]
    optimizer, found = Prodigy(values, **own), []
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        now = [value.detach().numpy() for value in values]
        for value, gradient in zip(values, prodigy_cases.gradients(now, step), strict=True):
            value.grad = torch.tensor(np.asarray(gradient, "float32"))
        optimizer.step()
        found.append(optimizer.param_groups[0]["d"])
    return {"d": found, "values": [value.detach().numpy().tolist() for value in values]}


if __name__ == "__main__":
    recorded = {
        name: record(settings, prodigy_cases.RATES[rates]) for name, (settings, rates) in prodigy_cases.CASES.items()
    }
    path = Path(__file__).parent / "recorded" / "prodigy.json"
    path.write_text(json.dumps(recorded) + "\n", encoding="utf-8")
