"""Progress and TensorBoard: what is written and at which step."""

import io

import pytest
import tensorflow as tf

from softprompt_tf.errors import TrainingError
from softprompt_tf.methods import prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.training import TargetCrossEntropy, TensorBoardScalars, progress, train_prompt
from softprompt_tf.training.callbacks import BatchLogs, MeanLogs, is_due


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(tiny, *callbacks, steps=5):
    tiny.make_model().fit(
        tiny.RandomBatches().dataset(first_step=0),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


def test_lines_in_a_log(tiny):
    stream = io.StringIO()

    fit(tiny, progress(last_step=5, every_steps=2, stream=stream))

    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 2/5", "step 4/5"]
    assert "loss " in lines[0]


INPUTS = ["a film", "the old miller walks to the river", "rain", "no", "a dull film"]
TARGETS = ["no", "the plot is thin and the jokes are tired", "a charming film", "no", "rain fell on the roof"]


@pytest.mark.parametrize(
    "strategy",
    [tf.distribute.get_strategy, lambda: tf.distribute.MirroredStrategy(["/cpu:0"])],
    ids=["one", "mirrored"],
)
def test_means_over_batches_of_different_sizes_are_those_of_all_rows(tiny, tiny_t5, tmp_path, strategy):
    with strategy().scope():
        model = PromptedT5(tiny_t5, prompt_tuning(length=2, seed=1))
        metrics = ["accuracy", "exact_match"]
        # A rate of 0: the prompt stays as it is, so that all rows at once are the reference.
        model.compile(optimizer=tiny.keras.optimizers.SGD(0.0), loss=TargetCrossEntropy(), metrics=metrics)
    stream = io.StringIO()
    batches = [(INPUTS[:1], TARGETS[:1]), (INPUTS[1:], TARGETS[1:])]

    lines = progress(every_steps=2, stream=stream)
    model.fit(
        (batch for batch in batches),
        steps_per_epoch=2,
        verbose=0,
        callbacks=[BatchLogs(), lines, TensorBoardScalars(tmp_path, every_steps=2)],
    )

    expected = model.evaluate(INPUTS, TARGETS, batch_size=5, verbose=0, return_dict=True)
    words = stream.getvalue().split()
    written = read_scalars(tmp_path)
    for name, value in expected.items():
        assert float(words[words.index(name) + 1]) == pytest.approx(value, rel=1e-3), name
        assert written[name, 2] == pytest.approx(value, rel=1e-5), name


def test_what_has_no_weight_counts_once_and_batches_without_weight_are_averaged():
    means = MeanLogs()

    means.add({"loss": 1.0, "seconds": 4.0, "empty": 2.0}, {"loss": 3.0, "empty": 0.0})
    means.add({"loss": 5.0, "seconds": 6.0, "empty": 4.0}, {"loss": 1.0, "empty": 0.0})

    assert means.take() == {"loss": 2.0, "seconds": 5.0, "empty": 3.0}
    assert means.take() == {}


def test_bar_on_a_terminal(tiny):
    stream = Terminal()

    fit(tiny, progress(last_step=5, stream=stream))

    assert "5/5" in stream.getvalue()
    assert "loss=" in stream.getvalue()


def read_scalars(log_dir):
    scalars = {}
    for path in log_dir.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                scalars[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    return scalars


def test_tensorboard_holds_means_and_the_rate(tiny, tmp_path):
    means = MeanLogs()
    keep = tiny.keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.add(logs))

    fit(tiny, BatchLogs(), TensorBoardScalars(tmp_path, every_steps=4), keep, steps=4)

    scalars = read_scalars(tmp_path)
    assert scalars["learning_rate", 4] == pytest.approx(0.3)
    assert scalars["loss", 4] == pytest.approx(means.take()["loss"])


def test_tensorboard_holds_dev_scores_at_their_step(tiny, tmp_path):
    train_prompt(
        tiny.make_model(),
        tiny.RandomBatches(),
        steps=5,
        seed=0,
        evaluate=lambda: {"accuracy": 0.25, "f1": 0.75},
        evaluate_every=3,
        log_dir=tmp_path,
    )

    scores = {key: value for key, value in read_scalars(tmp_path).items() if key[0].startswith("val_")}
    assert scores == {
        ("val_score", 3): 0.5,
        ("val_accuracy", 3): 0.25,
        ("val_f1", 3): 0.75,
        ("val_score", 5): 0.5,
        ("val_accuracy", 5): 0.25,
        ("val_f1", 5): 0.75,
    }


@pytest.mark.parametrize(
    ("previous", "step", "due"), [(0, 9, False), (9, 10, True), (10, 11, False), (8, 12, True), (15, 40, True)]
)
def test_multiples_are_due_once(previous, step, due):
    assert is_due(previous, step, 10) is due


def test_files_that_cannot_be_written_are_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    scalars = TensorBoardScalars(tmp_path / "file" / "logs")

    with pytest.raises(
        TrainingError, match=r"TensorBoard files in .*logs cannot be written. Received: [^{]*file[^{]*\.$"
    ):
        scalars.on_train_begin()
    scalars.close()
