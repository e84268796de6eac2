"""Write the first training rows of a task, as token ids that both sides read.

    python -m benchmarks.speed.real_rows TASK_FILE ROWS OUTPUT.json

The vocabulary is the bundled backbone's. SOFTPROMPT_DATA is the directory of the data sets.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Tokenize and write."""
    import softprompt_tf as sp
    from softprompt_tf.tasks import load_task, tokenize_examples

    task_file, count, output = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    t5, task = sp.load_t5("mini"), load_task(task_file)
    examples = tokenize_examples(
        task.examples("train")[:count],
        t5.tokenize,
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=task.target_token_limit(t5.tokenize),
    )
    rows = {
        "inputs": [ids.tolist() for ids in examples.encoder_token_ids],
        "targets": [ids.tolist() for ids in examples.target_token_ids],
    }
    output.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
