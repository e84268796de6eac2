"""The demo's runs behind the encoder are those in front with another method, and no more steps."""

from types import SimpleNamespace

import pytest

from softprompt_tf.config import dump_config, load_config
from softprompt_tf.demo.demo import demo_config
from softprompt_tf.demo.one_encoding import behind, run_behind


@pytest.mark.parametrize(("steps", "fewer"), [(400, 200), (7, 7)])
def test_a_run_behind_has_the_settings_of_the_run_in_front(tmp_path, steps, fewer):
    front = demo_config("topic", tmp_path / "topic", "mini")
    front = front.model_copy(update={"training": front.training.model_copy(update={"steps": steps})})
    (tmp_path / "topic").mkdir()
    (tmp_path / "topic" / "config.yaml").write_text(dump_config(front))

    late = run_behind("topic", SimpleNamespace(output_dir=tmp_path / "topic"))

    expected = {"steps": fewer, "evaluate_every": fewer // 4}
    assert late.prompt.method == "late_prompts"
    assert (late.prompt.length, late.prompt.init) == (front.prompt.length, front.prompt.init)
    assert late.training == front.training.model_copy(update=expected)
    assert (late.task, late.seed, late.backbone) == (front.task, front.seed, front.backbone)
    assert late.output_dir == str(tmp_path / behind("topic"))
    assert load_config(tmp_path / "topic" / "config.yaml") == front
