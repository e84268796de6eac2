"""A task of a real export, migrated: what the old model says is what Keras says, and a recycled start answers alike."""

import numpy as np
import pytest
from asked_versions import twin_of
from tiny_t5 import SENTENCES

from softprompt_tf import load_prompt
from softprompt_tf.config import TrainingConfig
from softprompt_tf.errors import DataError, ExportError
from softprompt_tf.export.versions.task_shards import StoredTasks
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.migration import MigrationSettings, migrate
from softprompt_tf.migration.student import rendered, target_limit, template_of
from softprompt_tf.migration.teacher import Teacher

SETTINGS = MigrationSettings(training=TrainingConfig(steps=2, batch_size=4, evaluate_every=2, checkpoint_every=2))

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def teacher(base_directory):
    return Teacher(base_directory)


@pytest.fixture(scope="module")
def migrated(base_directory, tiny_t5, tmp_path_factory):
    """One task on the same T5: a linear map of its embeddings to themselves changes no prompt."""
    output = tmp_path_factory.mktemp("migrated")
    return migrate(base_directory, tiny_t5, SENTENCES, output, task_ids=["mood"], settings=SETTINGS)


def test_the_old_model_answers_as_keras_does_with_the_template_around_the_line(teacher, tiny_t5, task_prompts):
    lines = list(SENTENCES[:5])

    answers = teacher.ask(teacher.tasks["mood"], lines)

    keras = twin_of(tiny_t5, [task_prompts["mood"]]).classify([f"the film: {line} is it good?" for line in lines])
    assert answers.texts == tuple(each.label for each in keras)
    np.testing.assert_allclose(answers.probabilities, np.exp([each.log_probabilities for each in keras]), atol=1e-5)


def test_the_export_has_the_old_vocabulary_and_the_prompts(teacher, tiny_t5, task_prompts):
    old = teacher.vocabulary()

    assert list(old.pieces) == tiny_t5.tokenizer.get_vocabulary()
    np.testing.assert_array_equal(old.embeddings, tiny_t5.embedding_table)
    np.testing.assert_array_equal(teacher.prompt_of(teacher.tasks["story"]), task_prompts["story"].tensors[PROMPT])


def test_a_task_is_known_by_its_tensors(teacher, base_directory, monkeypatch):
    before, of_tasks = teacher.digests(), StoredTasks.of_tasks

    def trained_again(stored, name):
        return {task: rows + (name == PROMPT and task == "mood") for task, rows in of_tasks(stored, name).items()}

    assert Teacher(base_directory).digests() == before
    monkeypatch.setattr(StoredTasks, "of_tasks", trained_again)
    after = teacher.digests()
    assert {task for task, digest in after.items() if digest != before[task]} == {"mood"}


def test_a_prompt_recycled_to_its_own_backbone_answers_alike_before_any_training(migrated):
    (task,) = migrated.tasks

    assert (task.error, task.start, task.at_start) == ("", "recycled (v2v-lin)", 1.0)
    assert (task.lines, task.held_out) == (32, 4)


def test_the_task_file_is_one_that_an_export_takes(migrated, tiny_t5):
    prompt = load_prompt(migrated.prompts["mood"])

    assert (prompt.task_id, prompt.labels, prompt.length) == ("mood", ("negative", "positive"), 3)
    assert (prompt.template, prompt.max_input_tokens, prompt.max_target_tokens) == (
        "the film: {text} is it good?",
        40,
        2,
    )
    assert prompt.backbone_fingerprint == tiny_t5.fingerprint
    assert prompt.metrics["agreement"] == migrated.tasks[0].agreement


def test_a_finished_migration_needs_no_old_model_again(migrated, base_directory, tiny_t5, monkeypatch):
    monkeypatch.setattr(Teacher, "ask", lambda *parts: pytest.fail("asked again"))

    again = migrate(base_directory, tiny_t5, SENTENCES, migrated.output_dir, task_ids=["mood"], settings=SETTINGS)

    assert again == migrated


def test_templates_and_limits_follow_the_tasks(teacher, tiny_t5):
    mood, reply = teacher.tasks["mood"], teacher.tasks["reply"]

    assert rendered(mood, ["x"]) == ["the film: x is it good?"]
    assert (template_of(reply), rendered(reply, ["x"])) == ("", ["x"])
    assert (target_limit(mood, tiny_t5), target_limit(reply, tiny_t5)) == (2, 20)


def test_a_line_that_the_old_model_refuses_is_named(teacher, monkeypatch):
    class Unknown:
        task_id, labels = "nobody", ()

    with pytest.raises(DataError, match="must answer every line. Received: \"Unknown task id 'nobody'"):
        teacher.ask(Unknown(), ["x"])


def test_a_directory_without_an_export_is_refused(tmp_path):
    with pytest.raises(ExportError, match="The directory must be an export"):
        Teacher(tmp_path)
