"""Label many texts at once with `AsyncPredictionClient`: one text a line enters on standard input, JSON lines leave.

    python asyncio_client.py localhost:8500 --model-name t5 --task-id sentiment < texts.txt

Up to eight requests of up to 32 rows are under way at a time; answers come in the order of the lines. A bad row is told
in its place. After a minute in all everything that is still under way is cancelled, here and on the server.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict

from softprompt_tf.errors import RowError, ServingError
from softprompt_tf.export.client.async_client import AsyncPredictionClient


async def label(target: str, model_name: str, task_id: str, texts: list[str]) -> list[dict[str, object]]:
    """Return one JSON object per text: its answer, or its `error`."""
    async with AsyncPredictionClient(
        target,
        model_name=model_name,
        timeout_s=20,
        max_batch_size=32,
        max_concurrent_requests=8,
    ) as client:
        try:
            async with asyncio.timeout(60):
                answers = await client.classify(texts, task_id=task_id)
        except RowError as error:
            rows = zip(error.answers, error.row_status, strict=True)
            return [{"error": status} if status else asdict(answer) for answer, status in rows]
    return [asdict(answer) for answer in answers]


def main() -> int:
    """Read, ask and print."""
    parser = argparse.ArgumentParser(description="labels of the lines of standard input, from a model server")
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--task-id", required=True)
    arguments = parser.parse_args()
    texts = [line.rstrip("\n") for line in sys.stdin]
    try:
        rows = asyncio.run(label(arguments.target, arguments.model_name, arguments.task_id, texts))
    except (ServingError, TimeoutError) as error:
        print(f"asyncio_client: {error or 'no answer within a minute'}", file=sys.stderr)
        return 1
    for text, row in zip(texts, rows, strict=True):
        print(json.dumps({"text": text, **row}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
