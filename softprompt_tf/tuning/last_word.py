"""The last word of a search: its best prompt on all dev rows and on the test rows, which nobody chose by.

The answers to the test rows are left in OUTPUT/test_predictions.jsonl: where a task has no test rows, no other command knows them.
"""

from dataclasses import asdict
from typing import Any

from softprompt_tf.errors import TrainingError
from softprompt_tf.evaluation.by_label import label_scores
from softprompt_tf.evaluation.scores import majority_baseline, write_predictions
from softprompt_tf.methods import load_prompt
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, sample
from softprompt_tf.tuning.ladder import rows_in
from softprompt_tf.tuning.record import PREDICTIONS
from softprompt_tf.tuning.scoring import Looked
from softprompt_tf.tuning.search import Search


def score_best(search: Search) -> None:
    """Score the best prompt, write it with its metrics, and put the figures into the record."""
    record, rows = search.record, search.rows
    if record.best is None:
        raise TrainingError(
            f"A search ends with a scored prompt. Received: none in {search.output}: no score was a finite number."
        )
    tried = record.tried[record.best]
    recipe = search.recipe(tried.candidate)
    prompt = load_prompt(search.prompt_path)
    model = search.scorer.model_with(prompt.tensors, prompt.method)
    dev_rows, test_rows = _affordable(search, search.row_s(recipe))
    search.watch.stage(f"Scoring {counted(dev_rows + test_rows, 'row')}")
    seen = set(map(id, search.dev))
    rest = sample([row for row in rows.dev if id(row) not in seen], dev_rows, seed=search.seed)
    dev = search.scorer.look(model, [*search.dev, *rest], known=search.best_look)
    scored = sample(rows.test, test_rows, seed=search.seed)
    test = search.scorer.look(model, scored)
    write_predictions(search.output / PREDICTIONS, test.scores.predictions)
    model.save_prompt(
        search.prompt_path,
        task_id=rows.task.name,
        method=prompt.method,
        template=prompt.template,
        metrics=dev.scores.metrics,
        training_config=prompt.training_config,
    )
    record.result = {
        "prompt": search.prompt_path.name,
        "candidate": recipe.to_json(),
        "steps": tried.steps,
        "dev": _figures(search, dev, [*search.dev, *rest], of=len(rows.dev)),
        "test": _figures(search, test, scored, of=len(rows.test)),
    }


def _affordable(search: Search, row_s: float) -> tuple[int, int]:
    """Return how many more dev rows, and how many test rows, are scored."""
    kept = search.reserve(dev_sample=len(search.dev), row_s=row_s)
    writing_s = kept.seconds - 1.1 * row_s * (kept.dev_rows + kept.test_rows)
    return rows_in(search.budget.left_s - writing_s, kept, row_s)


def _figures(search: Search, looked: Looked, examples: list[Example], *, of: int) -> dict[str, Any]:
    task = search.rows.task
    figures: dict[str, Any] = {"rows": len(examples), "of": of, "metrics": looked.scores.metrics}
    if task.label_words:
        figures["majority"] = majority_baseline(task, search.rows.train, examples)
        figures["by_label"] = [asdict(each) for each in label_scores(task, looked.scores.predictions)]
    return {**figures, "one_answer": looked.one_answer}
