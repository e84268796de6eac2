"""The arguments of `softprompt pretrain` and `softprompt adapt`: their defaults, what reaches the run, and what is refused."""

import gzip
import lzma

import pytest

from softprompt_tf.cli import cli
from softprompt_tf.pretraining import training_directory


@pytest.fixture(autouse=True)
def texts(tmp_path_factory, monkeypatch):
    """Text files of one document each in the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("texts"))
    for name, opened in {"a.txt": open, "b.txt": open, "a.txt.xz": lzma.open, "news.txt.gz": gzip.open}.items():
        with opened(name, "wt", encoding="utf-8") as file:
            file.write("a long line " * 20)


@pytest.fixture
def called(monkeypatch):
    """Keep what the commands call instead of training."""
    calls = []
    monkeypatch.setattr(training_directory, "pretrain", lambda **given: calls.append(given))
    monkeypatch.setattr(training_directory, "adapt", lambda source, **given: calls.append({"source": source, **given}))
    return calls


def test_pretrain_means_span_corruption_from_nothing(called, tmp_path):
    assert cli.main(["pretrain", "--text", "book=a.txt.xz", "--text", "b.txt", "--output", str(tmp_path)]) == 0

    (given,) = called
    assert given["texts"] == [("book", "a.txt.xz"), ("text", "b.txt")]
    assert given["mixture"].objectives[1].tolist() == [1, 0, 0]
    assert (given["run"].steps, given["run"].peak_learning_rate, given["run"].seed) == (6000, 0.02, 1)
    assert (given["shape"].vocabulary_size, given["shape"].num_layers) == (8192, 4)
    assert given["strategy"].num_replicas_in_sync == 1


def test_adapt_means_the_lm_objective_at_the_rate_where_t5_ended(called, tmp_path):
    assert cli.main(["adapt", "mini", "--text", "a.txt", "--output", str(tmp_path)]) == 0

    (given,) = called
    assert given["source"] == "mini"
    assert given["mixture"].objectives[1].tolist() == [0, 1, 0]
    assert (given["run"].steps, given["run"].peak_learning_rate) == (1000, 0.001)


def test_every_option_reaches_the_run(called, tmp_path):
    words = (
        "adapt t5_1.1_small --text article=wiki40b/en@train#text --objective prefix_lm=0.3 --objective instructions=0.7"
        " --weight article=1.5 --steps 7 --cooldown-steps 3 --warmup-steps 2 --learning-rate 0.01 --batch-size 16"
        " --window 64 --max-documents 90 --checkpoint-every 5 --log-every 4 --measure-every 6 --precision float32 --seed 9"
        " --task-weight remark=0 --task-weight subject=4"
        " --measure-text news.txt.gz --measure-documents 12"
    )

    assert cli.main([*words.split(), "--output", str(tmp_path)]) == 0

    (given,) = called
    assert given["texts"] == [("article", "wiki40b/en@train#text")]
    assert given["kind_weights"] == {"article": 1.5}
    assert given["max_documents"] == 90
    assert (given["measure_text"], given["measure_documents"]) == ("news.txt.gz", 12)
    mixture, run = given["mixture"], given["run"]
    assert (mixture.prefix_lm, mixture.instructions, mixture.rows, mixture.instruction_rows) == (0.3, 0.7, 16, 32)
    assert mixture.window == 64
    assert mixture.task_weights == {"remark": 0, "subject": 4}
    assert (run.steps, run.cooldown_steps, run.warmup_steps, run.seed) == (7, 3, 2, 9)
    assert (run.checkpoint_every, run.log_every, run.measure_every) == (5, 4, 6)
    assert (run.peak_learning_rate, run.precision) == (0.01, "float32")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--objective masking=1",
            "`--objective` must be one of span_corruption, prefix_lm, instructions. Received: 'masking'.",
        ),
        (
            "--objective prefix_lm",
            "`--objective` must be NAME=WEIGHT with a weight of at least 0. Received: 'prefix_lm'.",
        ),
        ("--objective prefix_lm=0", "At least one `--objective` must have a weight above 0."),
        ("--weight book=-1", "`--weight` must be NAME=WEIGHT with a weight of at least 0. Received: 'book=-1'."),
        ("--task-weight remark=much", "`--task-weight` must be NAME=WEIGHT with a weight of at least 0."),
        ("--task-weight remarks=1", "An instruction task must be one of missing_word, choose_word,"),
        ("--strategy miror", "Did you mean 'mirrored'?"),
        ("--steps -1", "`steps` must be a whole number from 0 up. Received: -1."),
        ("--log-every 0", "`log_every` must be a whole number from 1 up. Received: 0."),
        ("--learning-rate nan", "The learning rate must be a number above 0. Received: nan."),
        ("--seed -1", "`seed` must be a whole number from 0 up to 2^32. Received: -1."),
        ("--batch-size 0", "`rows` must be a whole number from 1 up. Received: 0."),
        ("--window 8", "`window` must be a whole number from 16 up. Received: 8."),
        (
            "--objective span_corruption=1 --window 2001",
            "`window` must be at most 2000 tokens for span corruption, as T5 has 100 sentinels. Received: 2001.",
        ),
    ],
)
def test_wrong_arguments_are_told_in_one_line(called, tmp_path, capsys, words, message):
    status = cli.main(["adapt", "mini", "--text", "a.txt", "--output", str(tmp_path), *words.split()])

    assert status == 2
    assert called == []
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("missing", ["--text", "--measure-text"])
def test_missing_text_is_told_before_anything_is_written(tmp_path, capsys, missing):
    output, there = tmp_path / "run", tmp_path / "there.txt"
    there.write_text("a line of at least eighty characters " * 3 + "\n", encoding="utf-8")
    texts = {"--text": there, "--measure-text": there, missing: tmp_path / "none.txt"}
    words = [str(word) for option in texts.items() for word in option]

    status = cli.main(["pretrain", *words, "--output", str(output)])

    assert status == 2
    assert "A corpus file must exist. Received:" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("pretrain", "--heads 0", "`num_heads` must be a whole number from 1 up. Received: 0."),
        ("pretrain", "--rows 100", "`vocabulary_size` must be a whole number from 104 up. Received: 100."),
        ("pretrain", "--max-documents -1", "`max_documents` must be a whole number from 1 up. Received: -1."),
        ("pretrain", "--weight boook=2", "A weight must be of a kind of text. Received: 'boook'. Did you mean `book`?"),
        (
            "pretrain",
            "--weight book=0",
            "At least one kind of text must have a weight above 0. Received: {'book': 0.0}.",
        ),
    ],
)
def test_numbers_that_fit_nothing_are_told_before_anything_is_written(tmp_path, capsys, command, words, message):
    output = tmp_path / "run"

    assert cli.main([command, "--text", "book=a.txt", "--output", str(output), *words.split()]) == 2

    assert message in capsys.readouterr().err
    assert not output.exists()
