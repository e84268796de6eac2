"""One JSON request a line in, one JSON answer a line out: how the driver speaks with a worker process.

Requests: {"do": "prepare", "case": {...}} -> checks; {"do": "run"} -> {"seconds": s}; {"do": "memory"} -> {"vmhwm_mb": m};
{"do": "forget_peak"} -> the same, and the peak begins anew. What a round returns as a dictionary is in its answer.
A worker that fails answers {"error": text} and goes on.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = next((ROOT / "softprompt_tf/backbones/bundled/mini").rglob("*.spm"))
# Threads that spin after their work would take the cores from the other side.
QUIET = {"KMP_BLOCKTIME": "0", "OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "2"}
Prepare = Callable[[dict[str, Any]], tuple[Callable[[], object], dict[str, Any]]]


def serve(prepare: Prepare, lines: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends; `prepare` returns what one round runs, and the case's checks."""
    run: Callable[[], object] | None = None
    for line in lines:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                run, answer = prepare(request["case"])
            elif request["do"] == "run":
                if run is None:
                    raise ValueError("`run` must come after `prepare`. Received: no case.")
                start = time.perf_counter()
                found = run()
                answer = {"seconds": time.perf_counter() - start, **(found if isinstance(found, dict) else {})}
            elif request["do"] == "forget_peak":
                answer = {"vmhwm_mb": peak_mb()}
                Path("/proc/self/clear_refs").write_text(
                    "5", encoding="ascii"
                )  # the peak begins anew, at what is held now
            else:
                answer = {"vmhwm_mb": peak_mb()}
        except Exception as error:  # the driver reports it and goes on with the next case
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def serve_standard(prepare: Prepare) -> None:
    """Serve on stdin and stdout; whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(prepare, sys.stdin, answers)


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, MB; Linux only."""
    return _status_mb("VmHWM")


def resident_mb() -> dict[str, float]:
    """Return the resident memory of this process now, and how much of it is pages of files, MB; Linux only."""
    return {"resident": _status_mb("VmRSS"), "of_files": _status_mb("RssFile")}


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6


class Worker:
    """A worker process; `ask` waits for its answer, so that only one side works at a time."""

    def __init__(self, command: Sequence[str]):
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **QUIET}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its answer; a RuntimeError if the worker failed or ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The worker ended with status {self._process.wait()} at `{do}`.")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def started(*sides: str, peer_python: str) -> Iterator[list[Worker]]:
    """Start a worker for each side ("our", "peer" or "limit"), and end them."""
    workers = [Worker(_command(side, peer_python)) for side in sides]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def _command(side: str, peer_python: str) -> list[str]:
    if side == "our":
        return [sys.executable, "-m", "benchmarks.speed.plain_install", "our_worker"]
    return [peer_python if side == "peer" else sys.executable, "-m", f"benchmarks.speed.{side}_worker"]
