"""One run of this library: `python -m benchmarks.time_to_accuracy.ours CASE RESULT STEPS SIDE`."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import softprompt_tf as sp
from benchmarks.time_to_accuracy.curves import EVALUATIONS, Curve
from softprompt_tf.methods import PromptMethod
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, TokenizedExamples
from softprompt_tf.training.callbacks import steps_done


@dataclass(frozen=True)
class Side:
    """What trains, and how.

    Args:
      method: first prompt [P, H], seed -> the method.
      optimizer: schedule -> the optimizer.
      rate: the highest, per step.
      on_states: whether it trains on cached states.
      batch_size: rows of a batch.
    """

    method: Callable[[np.ndarray, int], PromptMethod]
    optimizer: Callable[[Any], Any]
    rate: float
    on_states: bool
    batch_size: int = 32


SIDES = {
    "front": Side(
        lambda prompt, seed: sp.prompt_tuning(len(prompt), sp.init.from_array(prompt), seed=seed),
        sp.Adafactor,
        rate=1.0,
        on_states=False,
    ),
    "late": Side(
        lambda prompt, seed: sp.late_prompts(len(prompt), sp.init.from_array(prompt), seed=seed),
        sp.Adafactor,
        rate=1.0,
        on_states=True,
    ),
    "decoder": Side(
        lambda prompt, seed: sp.adapters(16, encoder=False, seed=seed),
        keras.optimizers.Adam,
        rate=0.01,
        on_states=True,
    ),
    "ia3_decoder": Side(
        lambda prompt, seed: sp.ia3(encoder=False, seed=seed), keras.optimizers.Adam, rate=0.3, on_states=True
    ),
    "lora": Side(lambda prompt, seed: sp.lora(8, seed=seed), keras.optimizers.Adam, rate=0.003, on_states=False),
    "ia3": Side(lambda prompt, seed: sp.ia3(seed=seed), keras.optimizers.Adam, rate=0.3, on_states=False),
    "ia3_small_batch": Side(
        lambda prompt, seed: sp.ia3(seed=seed), keras.optimizers.Adam, rate=0.2, on_states=False, batch_size=8
    ),
}


def main(case: dict[str, Any], result: Path, steps: int, side: Side) -> None:
    """Train, and keep the curve."""
    t5, seed = sp.load_t5("mini"), case["seed"]
    texts, labels = case["dev_texts"], case["labels"]
    method = side.method(np.array(case["prompt"], np.float32), seed)
    model = sp.PromptedT5(t5, method, labels=labels, max_input_tokens=512, max_target_tokens=16)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - 20, warmup_target=side.rate, warmup_steps=20)
    model.compile(side.optimizer(rate), sp.TargetCrossEntropy())
    tokens = TokenizedExamples(
        tuple(np.array(ids, np.int32) for ids in case["inputs"]),
        tuple(np.array(ids, np.int32) for ids in case["targets"]),
        np.zeros(len(case["inputs"]), np.int32),
    )
    wanted = [labels[index] for index in case["dev_labels"]]
    batches: Any = BatchStream(tokens, batch_size=side.batch_size, seed=seed)
    classify: Callable[[list[str]], Any] = model.classify
    spent = {"wall": 0.0, "cpu": 0.0}
    if side.on_states:
        started = time.perf_counter(), time.process_time()
        cache = model.state_cache()
        states = cache.as_needed(tokens.encoder_token_ids)
        assert states is not None
        batches = StateBatchStream(batches, states, steps=steps)
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
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    main(given, Path(sys.argv[2]), int(sys.argv[3]), SIDES[sys.argv[4]])
