"""Training `mini` on an accelerator: the plan of a timed run, the files that travel, and the whole program in small."""

import json
import lzma
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accelerator.carry_corpora import FILES, carry
from benchmarks.accelerator.timed_run import TimedBatches
from benchmarks.accelerator.weight_parts import read_parts, write_parts
from softprompt_tf.pretraining.pretrainer import PretrainingRun

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("jax")


@dataclass
class FakeTrainer:
    run: PretrainingRun


class Endless:
    def prefetch(self, first_step, last_step):
        for step in range(first_step, last_step):
            yield step, "prefix_lm", step


def timed_steps(*, deadline, seconds_per_step):
    """Run until the batches end; return the trainer and the steps, at a speed that the clock makes up."""
    now = [0.0]
    trainer = FakeTrainer(PretrainingRun(steps=10**8, cooldown_steps=1))
    batches = TimedBatches(Endless(), trainer, deadline=deadline, cooldown=0.4, clock=lambda: now[0])
    taken = []
    for step, _, _ in batches.prefetch(0, 1):
        now[0] += seconds_per_step(step)
        taken.append(step)
    return trainer, taken, now[0]


def test_a_run_of_steady_speed_ends_just_before_its_deadline():
    trainer, taken, end = timed_steps(deadline=100.0, seconds_per_step=lambda step: 0.05)

    assert taken == list(range(trainer.run.steps))
    assert 0.97 * 100 <= end <= 100.0
    assert trainer.run.cooldown_steps == pytest.approx(0.4 * trainer.run.steps, rel=0.02)
    assert trainer.run.checkpoint_every == pytest.approx(60 / 0.05, abs=1)


def test_a_slow_start_is_not_taken_for_the_speed():
    _, _, end = timed_steps(deadline=100.0, seconds_per_step=lambda step: 0.5 if step < 100 else 0.02)

    assert 0.9 * 100 <= end <= 100.0


def test_once_the_rate_falls_the_end_stands():
    """The rate falls to 0 at the planned last step: a later plan would break that off."""
    slow_end = 0.2
    trainer, taken, end = timed_steps(deadline=100.0, seconds_per_step=lambda step: 0.05 if step < 1400 else slow_end)

    assert len(taken) == trainer.run.steps
    assert end > 100.0


def test_weights_come_back_from_their_parts_rounded_to_float16(tmp_path):
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=shape).astype("float32") for shape in ((2000, 3000), (1500, 2000), (7,))]

    paths = write_parts(weights, tmp_path, metadata={"step": "12"})
    read, metadata = read_parts(tmp_path)

    assert [path.name for path in paths] == ["weights_0.safetensors", "weights_1.safetensors"]
    assert max(path.stat().st_size for path in paths) < 16_000_000
    assert metadata == {"step": "12"}
    for one, other in zip(read, weights, strict=True):
        np.testing.assert_array_equal(one, other.astype("float16"))


def test_parts_of_two_moments_are_refused(tmp_path):
    weights = [np.zeros((2500, 3000), np.float32)] * 2
    write_parts(weights, tmp_path, metadata={"step": "1"})
    kept = (tmp_path / "weights_1.safetensors").read_bytes()
    write_parts(weights, tmp_path, metadata={"step": "2"})
    (tmp_path / "weights_1.safetensors").write_bytes(kept)

    with pytest.raises(ValueError, match="The parts of one state must lie in"):
        read_parts(tmp_path)


def test_a_weight_beyond_float16_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Weight 0 must be finite in float16"):
        write_parts([np.array([1e6], np.float32)], tmp_path, metadata={})


def test_every_other_block_of_the_books_travels(tmp_path):
    for name in FILES.values():
        (tmp_path / name).write_bytes(lzma.compress("".join(f"{name} {k}\n" for k in range(5)).encode()))

    size = carry(tmp_path, tmp_path / "carried")

    books = lzma.decompress((tmp_path / "carried/book.txt.xz").read_bytes()).decode().splitlines()
    assert books == [f"gutenberg.txt.xz {k}" for k in (0, 2, 4)]
    assert (tmp_path / "carried/article.txt.xz").read_bytes() == (tmp_path / FILES["article"]).read_bytes()
    assert size == sum(path.stat().st_size for path in (tmp_path / "carried").iterdir())


@pytest.mark.slow
def test_the_program_trains_mini_under_jax_and_its_weights_become_a_preset(tmp_path):
    for kind in ("article", "book"):
        text = "".join(
            f"The {kind} number {k} tells of a mill by the river {k}. It was built in the year {1700 + k}. Many people of "
            f"the village worked there for {k} years, and nobody knows why it was closed. Was it too old?\n"
            for k in range(300)
        )
        (tmp_path / f"{kind}.txt.xz").write_bytes(lzma.compress(text.encode()))
    output = tmp_path / "output"
    arguments = ["--minutes", "0.6", "--rows", "2", "--processes", "1", "--threads", "2", "--input-multiple", "128",
                 "--target-multiple", "128"]  # fmt: skip
    variables = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.accelerator.pretrain_mini", tmp_path, output, *arguments],
        env=variables, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr[-3000:]
    summary = json.loads((output / "pretrain_summary.json").read_text())
    assert summary["steps"] >= 128
    assert summary["keras_backend"] == "jax"
    from benchmarks.accelerator.read_back import read_back
    from softprompt_tf import load_t5

    assert read_back(output, tmp_path / "preset")["step"] == str(summary["steps"])
    assert load_t5(tmp_path / "preset").fingerprint != load_t5("mini").fingerprint
