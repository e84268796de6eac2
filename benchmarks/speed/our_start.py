"""From nothing to an answer on our side: import, load, generate once. Prints the seconds of each as JSON."""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.protocol import VOCABULARY

TEXT = "A sentence of some twenty words that says nothing much, so that it is as long as a review is."


def main() -> None:
    """Time the three."""
    model_directory, tokens = Path(sys.argv[1]), int(sys.argv[2])
    moments = [time.perf_counter()]
    import softprompt_tf as sp

    load, model_of = sp.load_t5, sp.PromptedT5  # the first use imports TensorFlow and KerasHub
    moments.append(time.perf_counter())
    t5 = load(model_directory, vocabulary=VOCABULARY)
    model = model_of(t5, sp.prompt_tuning(20, sp.init.from_array(inputs.prompt(20))))
    moments.append(time.perf_counter())
    for _ in range(2):
        model.generate([TEXT], max_tokens=tokens)
        moments.append(time.perf_counter())
    names = ("import", "load", "first answer", "second answer")
    print(json.dumps(dict(zip(names, (b - a for a, b in pairwise(moments)), strict=True))))


if __name__ == "__main__":
    main()
