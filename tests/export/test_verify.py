"""The check of a written SavedModel finds what would make a server answer otherwise than Keras."""

import dataclasses
import shutil

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from softprompt_tf.errors import VerificationError
from softprompt_tf.export import write_saved_model
from softprompt_tf.export.versions.verify import check_ops, verify_saved_model
from softprompt_tf.inference.decoding import Greedy
from softprompt_tf.methods import TaskPrompt

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

OPS_WITHOUT_PLACE = ("Xla", "PyFunc", "EagerPyFunc", "NumpyFunction")


def ops_of(directory):
    saved_model = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    functions = [node.op for function in meta_graph.graph_def.library.function for node in function.node_def]
    return {*(node.op for node in meta_graph.graph_def.node), *functions}


@pytest.mark.parametrize("change", ["prompt", "template"])
def test_a_task_that_differs_is_named(version_directory, tiny_t5, task_prompts, change):
    mood = task_prompts["mood"]
    changed = {
        "prompt": dataclasses.replace(mood, prompt=mood.prompt * 1.01),
        "template": dataclasses.replace(mood, template="the film: {text} is it bad?"),
    }[change]

    with pytest.raises(VerificationError, match="must answer as Keras does. Received for task 'mood', "):
        verify_saved_model(version_directory, tiny_t5, {**task_prompts, "mood": changed}, sampler=Greedy())


def test_a_damaged_variables_file_is_found(version_directory, tiny_t5, task_prompts, tmp_path):
    shutil.copytree(version_directory, tmp_path / "1")
    variables = tmp_path / "1" / "variables" / "variables.data-00000-of-00003"
    content = bytearray(variables.read_bytes())
    content[len(content) // 2] ^= 64
    variables.write_bytes(content)

    with pytest.raises(VerificationError):
        verify_saved_model(tmp_path / "1", tiny_t5, task_prompts, sampler=Greedy())


def test_the_export_has_no_op_that_a_server_lacks(version_directory):
    check_ops(version_directory)

    ops = ops_of(version_directory)
    assert len(ops) > 50
    assert [op for op in ops if op.startswith(OPS_WITHOUT_PLACE)] == []


@pytest.mark.parametrize("place", ["graph", "function"])
@pytest.mark.parametrize("op", ["XlaDynamicUpdateSlice", "PyFunc", "EagerPyFunc"])
def test_an_op_that_a_server_lacks_is_refused(tmp_path, place, op):
    saved_model = saved_model_pb2.SavedModel()
    graph = saved_model.meta_graphs.add().graph_def
    (graph.node if place == "graph" else graph.library.function.add().node_def).add(name="bad", op=op)
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())

    with pytest.raises(VerificationError, match=f"cannot run. Received: {op}."):
        check_ops(tmp_path)


def test_a_bfloat16_backbone_passes_the_check(tmp_path, tiny_t5_bfloat16):
    prompt = TaskPrompt(prompt=np.full((3, tiny_t5_bfloat16.hidden_dim), 0.5, np.float32), labels=("yes", "no"))

    version = write_saved_model(tmp_path / "bf16", tiny_t5_bfloat16, {"task": prompt})

    assert (version / "saved_model.pb").is_file()
