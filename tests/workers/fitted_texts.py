"""A program that is started forked: two workers, and one process alone, each fit the same texts: fitted_texts.py DIRECTORY."""

import json
import os
import pathlib
import sys

from worker_processes import free_ports


def fit(path):
    """Fit texts, and write the prompt and the losses."""
    if "TF_CONFIG" in os.environ:
        from softprompt_tf.training import make_strategy

        make_strategy("multi_worker")
    from tiny_t5 import make_tiny_t5

    import softprompt_tf as sp

    texts = ["a charming film", "a dull film", "the soup was warm", "rain fell on the roof all night long"]
    model = sp.PromptedT5(make_tiny_t5(num_layers=1, seed=3), sp.prompt_tuning(length=3, seed=1))
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy())
    targets = ["yes", "no it is not so at all", "maybe", "no"]
    losses = model.fit(texts, targets, batch_size=2, epochs=2, shuffle=False, verbose=0).history["loss"]
    path.write_text(json.dumps({"loss": losses, "prompt": model.prompt_value().tolist()}))


if __name__ == "__main__":
    directory, ports = pathlib.Path(sys.argv[1]), free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    children = []
    for rank in (0, 1, None):
        child = os.fork()
        if not child:
            if rank is not None:
                os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
                os.environ["SOFTPROMPT_JOIN_TIMEOUT_S"] = "60"
            fit(directory / f"{rank}.json")
            os._exit(0)
        children.append(child)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
