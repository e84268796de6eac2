"""Stand-ins for what the accelerator's sections need: a clock, a worker, a case."""

from benchmarks.accelerator.speed_cases import Case

STEP = Case("small", "float32", "training_step", 20, 128)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FakeWorker:
    """A worker whose steps take one second each, or that fails at what it is told to."""

    is_running = True

    def __init__(self, fails_at=()):
        self.fails_at, self.asked, self.is_closed = fails_at, [], False

    def ask(self, do, **fields):
        self.asked.append(do)
        if do in self.fails_at:
            raise RuntimeError("out of memory")
        return {"values": [2.0]} if do == "prepare" else {"seconds": 4.0, "steps": 4, "peak_bytes": 7}

    def close(self):
        self.is_closed = True
