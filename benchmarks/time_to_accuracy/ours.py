"""One run of this library: `python -m benchmarks.time_to_accuracy.ours CASE RESULT STEPS front|late`."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.time_to_accuracy.curves import EVALUATIONS, Curve
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, TokenizedExamples
from softprompt_tf.training.callbacks import steps_done


def main(case: dict[str, Any], result: Path, steps: int, side: str) -> None:
    """Train, and keep the curve."""
    t5, seed = sp.load_t5("mini"), case["seed"]
    texts, labels = case["dev_texts"], case["labels"]
    method = (sp.late_prompts if side == "late" else sp.prompt_tuning)(
        len(case["prompt"]), sp.init.from_array(np.array(case["prompt"], np.float32)), seed=seed
    )
    model = sp.PromptedT5(t5, method, labels=labels, max_input_tokens=512, max_target_tokens=16)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - 20, warmup_target=1.0, warmup_steps=20)
    model.compile(sp.Adafactor(rate), sp.TargetCrossEntropy())
    tokens = TokenizedExamples(
        tuple(np.array(ids, np.int32) for ids in case["inputs"]),
        tuple(np.array(ids, np.int32) for ids in case["targets"]),
        np.zeros(len(case["inputs"]), np.int32),
    )
    wanted = [labels[index] for index in case["dev_labels"]]
    batches: Any = BatchStream(tokens, batch_size=32, seed=seed)
    classify: Callable[[list[str]], Any] = model.classify
    spent = {"wall": 0.0, "cpu": 0.0}
    if side == "late":
        started = time.perf_counter(), time.process_time()
        cache = model.state_cache()
        states = cache.of(tokens.encoder_token_ids)
        assert states is not None
        batches = StateBatchStream(batches, states)
        spent = {"wall": time.perf_counter() - started[0], "cpu": time.process_time() - started[1]}
        dev_states = cache.of(model.text_batches.input_ids(texts))
        assert dev_states is not None
        classify = model.answers_from(dev_states).classify
    curve = Curve(
        lambda: float(np.mean([answer.label == label for answer, label in zip(classify(texts), wanted, strict=True)])),
        **spent,
    )
    sp.train_prompt(
        model,
        batches,
        steps=steps,
        seed=seed,
        evaluate=lambda: {"accuracy": curve.look(steps_done(model))},
        evaluate_every=steps // EVALUATIONS,
    )
    curve.write(result)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
