"""Ask a model server about the lines of standard input for some seconds, and print how long requests took, task by task.

    python load_test.py localhost:8500 --model-name t5 --task-id sentiment --task-id topic --callers 4 < texts.txt

Each caller sends one request of `--rows` texts after the other, with the tasks by turns. The first second is not counted.
It needs the client alone: import from `softprompt_client` where the library is not installed.
"""

import argparse
import asyncio
import statistics
import sys
import time
from itertools import count, cycle, islice

try:
    from softprompt_client import AsyncPredictionClient, SoftPromptError
except ImportError:
    from softprompt_tf.errors import SoftPromptError
    from softprompt_tf.export.client.async_client import AsyncPredictionClient

WARM_UP_S = 1.0


async def measure(arguments: argparse.Namespace, texts: list[str]) -> dict[str, list[float]]:
    """Return task -> the seconds of each of its requests."""
    taken: dict[str, list[float]] = {task: [] for task in arguments.task_id}
    begin = time.monotonic() + WARM_UP_S
    limits = {"max_batch_size": arguments.rows, "max_concurrent_requests": arguments.callers}

    async with AsyncPredictionClient(arguments.target, model_name=arguments.model_name, **limits) as client:
        ask = client.generate if arguments.generate else client.classify

        async def call(first: int) -> None:
            lines = islice(cycle(texts), first, None)
            for number in count(first):
                started = time.monotonic()
                if started >= begin + arguments.seconds:
                    return
                task = arguments.task_id[number % len(arguments.task_id)]
                await ask(list(islice(lines, arguments.rows)), task_id=task)
                if started >= begin:
                    taken[task].append(time.monotonic() - started)

        try:
            async with asyncio.TaskGroup() as callers:
                for number in range(arguments.callers):
                    callers.create_task(call(number))
        except ExceptionGroup as failures:  # the first failure ends the other callers, before the client is closed
            raise failures.exceptions[0]  # noqa: B904  its cause is the RPC's error
    return taken


def line(task: str, seconds: list[float], during_s: float) -> str:
    """Return a task's line: requests per second, the median of their times, and what 95 % of them stay below."""
    milliseconds = [1000 * each for each in seconds] or [float("nan")]
    # "inclusive", as the other method gives more than the longest time where there are few.
    most = statistics.quantiles(milliseconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else milliseconds[0]
    return f"{task}  {len(seconds) / during_s:.1f}  {statistics.median(milliseconds):.0f}  {most:.0f}"


def main() -> int:
    """Read, ask and print."""
    parser = argparse.ArgumentParser(description="how long a model server's answers take")
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--task-id", action="append", required=True, help="may be repeated")
    parser.add_argument("--generate", action="store_true", help="ask for texts, as of tasks that have no labels")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1, help="of a request")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    if arguments.seconds <= 0:
        parser.error("--seconds must be above 0")
    texts = [line.rstrip("\n") for line in sys.stdin] or [""]
    try:
        taken = asyncio.run(measure(arguments, texts))
    except SoftPromptError as error:
        print(f"load_test: {error}", file=sys.stderr)
        return 1
    print("task  requests/s  median ms  95 % ms")
    for task, seconds in taken.items():
        print(line(task, seconds, arguments.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
