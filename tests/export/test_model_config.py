"""The model config: its file, the rules for labels, and a server that follows it."""

import shutil
import threading
from pathlib import Path

import grpc
import pytest
from echo_model import export_echo, predict_request, wait_until
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from softprompt_tf.errors import ConfigError, ServingError
from softprompt_tf.export.server import model_versions
from softprompt_tf.export.server.model_config import (
    ModelSettings,
    VersionPolicy,
    assign_labels,
    describe_unavailable,
    read_model_config_file,
)
from softprompt_tf.export.server.model_versions import LoadRetries
from softprompt_tf.export.server.served_models import ConfigFile, ServedModels
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.server.serving_options import ServingOptions

FILE = """
model_config_list {
  config {
    name: "plain"
    base_path: "/models/plain"
    model_platform: "tensorflow"
  }
  config {
    name: "two"
    base_path: "/models/two"
    model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
  }
  config {
    name: "every"
    base_path: "/models/every"
    model_type: TENSORFLOW
    model_version_policy { all {} }
  }
  config {
    name: "chosen"
    base_path: "/models/chosen"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 5 } }
    version_labels { key: "stable" value: 3 }
    version_labels { key: "canary" value: 5 }
  }
}
"""


def write_config(path, *models):
    entries = [f"config {{ {model} }}" for model in models]
    path.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return path


def entry(name, base_path, more=""):
    return f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more}'


def test_a_model_config_file_of_tf_serving_is_read(tmp_path):
    (tmp_path / "models").write_text(FILE)

    plain, two, every, chosen = read_model_config_file(tmp_path / "models")

    assert (plain.name, str(plain.base_path), plain.policy) == ("plain", "/models/plain", VersionPolicy("latest"))
    assert two.policy == VersionPolicy("latest", num_versions=2)
    assert every.policy == VersionPolicy("all")
    assert chosen.policy == VersionPolicy("specific", versions=frozenset({3, 5}))
    assert chosen.labels == {"stable": 3, "canary": 5}


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), {9}),
        (VersionPolicy("latest", num_versions=0), {9}),
        (VersionPolicy("latest", num_versions=2), {3, 9}),
        (VersionPolicy("latest", num_versions=5), {1, 3, 9}),
        (VersionPolicy("all"), {1, 3, 9}),
        (VersionPolicy("specific", versions=frozenset({1, 4})), {1}),
    ],
)
def test_a_policy_chooses_versions(policy, chosen):
    assert policy.choose([3, 1, 9]) == chosen
    assert policy.choose([]) == set()


BAD_CONFIGS = {
    "no protobuf": ("model_config_list: {", "Invalid protobuf file: '{}' (at 1:"),
    "empty": (
        "",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
    ),
    "a name twice": (
        f"model_config_list {{ config {{ {entry('m', '/a')} }} config {{ {entry('m', '/b')} }} }}",
        "Illegal to list model m multiple times in config list",
    ),
    "relative path": (
        f"model_config_list {{ config {{ {entry('m', 'models/m')} }} }}",
        "Expected model m to have an absolute path or URI; got base_path()=models/m",
    ),
    "no platform": (
        'model_config_list { config { name: "m" base_path: "/m" } }',
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
    ),
    "two platforms": (
        f"model_config_list {{ config {{ {entry('m', '/m', 'model_type: TENSORFLOW')} }} }}",
        "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
    ),
    "other type": (
        'model_config_list { config { name: "m" base_path: "/m" model_type: OTHER } }',
        "ModelServerConfig::model_type choice 2 not supported.",
    ),
    "other platform": (
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "torch" } }',
        "Model m requests unsupported platform torch",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_wrong_config_is_refused(tmp_path, text, message):
    path = tmp_path / "models"
    path.write_text(text)

    with pytest.raises(ServingError) as caught:
        read_model_config_file(path)

    assert caught.value.status == "INVALID_ARGUMENT"
    assert str(caught.value).startswith(message.format(path))


# === Labels ===

LOADED = {"m": {1, 2}}


def labelled(**labels):
    from pathlib import Path

    return [ModelSettings("m", Path("/m"), labels=labels)]


def test_labels_of_loaded_versions_are_assigned():
    assert assign_labels(labelled(stable=1, canary=2), current={}, available=LOADED) == {
        "m": {"stable": 1, "canary": 2}
    }


@pytest.mark.parametrize(
    ("current", "allow_unavailable"), [({}, False), ({"m": {"stable": 1}}, True)], ids=["new", "moved"]
)
def test_a_label_may_not_point_to_a_version_that_is_not_loaded(current, allow_unavailable):
    message = "Request to assign label to version 7 of model m, which is not currently available for inference"

    with pytest.raises(ServingError, match=message) as caught:
        assign_labels(labelled(stable=7), current=current, available=LOADED, allow_unavailable=allow_unavailable)

    assert caught.value.status == "FAILED_PRECONDITION"


@pytest.mark.parametrize("current", [{}, {"m": {"stable": 7}}], ids=["new", "stays"])
def test_a_new_label_may_point_anywhere_where_that_is_allowed(current):
    labels = assign_labels(labelled(stable=7), current=current, available=LOADED, allow_unavailable=True)

    assert labels == {"m": {"stable": 7}}


def test_models_that_did_not_come_up_are_named():
    assert describe_unavailable({"a": {3: "no graph"}, "b": {}}) == (
        "2 model(s) did not become available: {{{name: a version: 3} due to error: no graph},"
        " {{name: b} due to error: no version found}}"
    )


# === A server that follows a config ===


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exported")
    for version in (1, 2):
        export_echo(directory / str(version), version)
    return directory


def ask(channel, **spec):
    request = predict_request({"task_id": ["x"], "text": ["a"]}, output_filter=["score"], **spec)
    try:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return response.outputs["score"].float_val[0]


def reload(channel, *settings):
    request = model_management_pb2.ReloadConfigRequest()
    for name, base_path, labels in settings:
        model = request.config.model_config_list.config.add(
            name=name, base_path=str(base_path), model_platform="tensorflow", version_labels=labels
        )
        model.model_version_policy.all.SetInParent()
    try:
        response = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=20)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return response.status.error_code


@pytest.fixture
def following(exported, tmp_path):
    """A server of version 1 and 2 under the labels "stable" and "canary", its config file, and a channel."""
    config = write_config(
        tmp_path / "models",
        entry("echo", exported, 'model_version_policy { all {} } version_labels { key: "stable" value: 1 }'),
    )
    options = ServingOptions(
        model_config_file=config,
        model_config_file_poll_wait_seconds=0.1,
        allow_version_labels_for_unavailable_models=True,
    )
    with (
        ModelServer(grpc_port=0, rest_port=None, poll_interval_s=0.1, options=options) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        yield config, channel


def test_versions_are_asked_by_number_and_by_label(following):
    _, channel = following

    assert ask(channel) == 201.0
    assert ask(channel, version=1) == 101.0
    assert ask(channel, label="stable") == 101.0
    assert ask(channel, label="canary") == ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")


def test_a_changed_file_is_followed(following, exported):
    config, channel = following

    write_config(config, entry("other", exported, "model_version_policy { specific { versions: 1 } }"))

    wait_until(lambda: ask(channel, name="other") == 101.0)
    assert ask(channel) == ("NOT_FOUND", "Servable not found for request: Latest(echo)")


def test_a_file_that_is_changed_while_its_models_load_is_followed_at_the_next_look(tmp_path, exported):
    path, names = write_config(tmp_path / "models", entry("first", exported)), []

    class Models:
        def configure(self, settings, *, is_over):
            names.append(settings[0].name)
            if len(names) == 1:
                write_config(path, entry("second", exported))

    file = ConfigFile(path, Models())
    file.load()
    file.poll()
    file.poll()  # there is nothing new

    assert names == ["first", "second"]


def test_a_file_that_becomes_wrong_changes_nothing(following, caplog):
    config, channel = following

    config.write_text("model_config_list {")

    wait_until(lambda: "is not followed: Invalid protobuf file" in caplog.text)
    assert ask(channel, label="stable") == 101.0
    assert caplog.text.count("is not followed") == 1


def test_a_reload_request_replaces_the_whole_set(following, exported):
    _, channel = following

    assert reload(channel, ("echo", exported, {"stable": 2}), ("more", exported, {})) == 0

    assert ask(channel, label="stable") == 201.0
    assert ask(channel, name="more") == 201.0


def test_a_removed_model_is_not_found_but_its_end_can_be_asked_for(following, exported):
    _, channel = following

    assert reload(channel, ("more", exported, {})) == 0

    assert ask(channel) == ("NOT_FOUND", "Servable not found for request: Latest(echo)")
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "echo"
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert [(item.version, item.state) for item in status.model_version_status] == [(2, 50), (1, 50)]
    assert reload(channel, ("echo", exported, {})) == 0
    assert ask(channel) == 201.0


def test_memory_of_a_removed_model_is_given_back_after_its_last_request(exported, monkeypatch):
    given_back = []
    monkeypatch.setattr(model_versions, "return_freed_memory", lambda: given_back.append(True))
    models = ServedModels()
    models.configure([ModelSettings("echo", exported)])
    in_use = models.find(predict_request({}).model_spec)
    models.configure([])
    models.poll()
    assert not given_back

    del in_use
    models.poll()
    models.poll()

    assert given_back == [True]


def test_a_reload_with_a_bad_label_changes_nothing(following, exported):
    _, channel = following

    assert reload(channel, ("echo", exported, {"stable": 7}), ("more", exported, {})) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 7 of model echo, which is not currently available for inference",
    )

    assert ask(channel, label="stable") == 101.0
    assert ask(channel, name="more") == ("NOT_FOUND", "Servable not found for request: Latest(more)")


def test_a_reload_with_a_model_that_does_not_load_says_so_and_tries_on(following, exported, tmp_path):
    _, channel = following
    (tmp_path / "more" / "3").mkdir(parents=True)

    code, message = reload(channel, ("echo", exported, {}), ("more", tmp_path / "more", {}))

    assert code == "UNKNOWN"
    assert message.startswith("1 model(s) did not become available: {{{name: more version: 3} due to error: ")
    assert ask(channel) == 201.0
    shutil.copytree(exported / "1", tmp_path / "more" / "4")
    wait_until(lambda: ask(channel, name="more") == 101.0)


def test_a_reload_waits_for_the_first_version_of_a_new_model(following, exported, tmp_path):
    _, channel = following
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(reload(channel, ("echo", exported, {}), ("late", tmp_path / "late", {})))
    )
    asking.start()
    wait_until(lambda: ask(channel, name="late") == ("NOT_FOUND", "Servable not found for request: Latest(late)"))
    assert ask(channel) == 201.0
    assert answers == []

    shutil.copytree(exported / "1", tmp_path / "late" / ".incoming")
    (tmp_path / "late" / ".incoming").rename(tmp_path / "late" / "1")
    asking.join(20)

    assert answers == [0]
    assert ask(channel, name="late") == 101.0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            model_management_pb2.ReloadConfigRequest(),
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
            " supported",
        ),
    ],
    ids=["empty"],
)
def test_a_reload_request_without_a_list_is_refused(following, request_, message):
    _, channel = following

    with pytest.raises(grpc.RpcError) as caught:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request_)

    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", message)


def test_labels_in_the_first_config_need_the_option(exported, tmp_path):
    config = write_config(tmp_path / "models", entry("echo", exported, 'version_labels { key: "stable" value: 2 }'))
    message = "Request to assign label to version 2 of model echo, which is not currently available for inference"

    with pytest.raises(ServingError, match=message):
        ModelServer(grpc_port=0, rest_port=None, options=ServingOptions(model_config_file=config)).start()


def test_a_label_is_assigned_at_a_later_look_once_its_version_is_loaded(exported, tmp_path):
    shutil.copytree(exported / "1", tmp_path / "echo" / "1")
    path = write_config(tmp_path / "models", entry("echo", tmp_path / "echo", "model_version_policy { all {} }"))
    models = ServedModels(retries=LoadRetries(0, 3600))
    config = ConfigFile(path, models)
    config.load()
    label = 'model_version_policy { all {} } version_labels { key: "new" value: 2 }'
    write_config(path, entry("echo", tmp_path / "echo", label))

    config.poll()
    with pytest.raises(ServingError, match="Unrecognized servable version label: new"):
        models.find(predict_request({}, label="new").model_spec)
    shutil.copytree(exported / "2", tmp_path / "echo" / "2")
    models.poll()
    config.poll()

    assert models.find(predict_request({}, label="new").model_spec).version == 2
    models.close()


# === Options ===


def test_options_become_the_flags_of_tf_serving(tmp_path):
    assert ServingOptions().flags() == []
    assert ServingOptions(rest_api_enable_cors_support=True).flags() == ["--rest_api_enable_cors_support=true"]
    assert ServingOptions(
        model_config_file=tmp_path / "models", enable_batching=True, max_num_load_retries=0
    ).flags() == [f"--model_config_file={tmp_path}/models", "--enable_batching=true", "--max_num_load_retries=0"]


def test_a_config_file_is_followed_from_any_working_directory(tmp_path, monkeypatch):
    class Models:
        def configure(self, settings, *, is_over=None):
            self.names = [model.name for model in settings]

    models = Models()
    monkeypatch.chdir(tmp_path)
    Path("models").write_text("model_config_list {}")
    file = ConfigFile(Path("models"), models)
    file.load()

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "models").write_text(FILE)
    file.poll()

    assert models.names == [model.name for model in read_model_config_file(tmp_path / "models")] != []


@pytest.mark.parametrize("option", ["--file-system-poll-wait-seconds", "--model-config-file-poll-wait-seconds"])
def test_a_negative_wait_is_refused_by_the_command(tmp_path, option):
    import argparse

    from softprompt_tf.export import serve_commands

    parser = argparse.ArgumentParser()
    serve_commands.add_arguments(parser)

    with pytest.raises(ConfigError, match=f"`{option}` must be 0 or more. Received: -1."):
        serve_commands.run(parser.parse_args([str(tmp_path), f"{option}=-1"]))


def test_a_batching_file_without_batching_is_refused(tmp_path):
    (tmp_path / "batching").write_text("")
    options = ServingOptions(batching_parameters_file=tmp_path / "batching")

    with pytest.raises(ServingError, match="batching_parameters_file is set without setting .*enable_batching to true"):
        ModelServer(tmp_path, options=options)


def test_the_command_passes_its_arguments_on(monkeypatch, tmp_path):
    import argparse

    from softprompt_tf.export import serve_commands
    from softprompt_tf.export.server import serve_until_stopped

    calls = []
    monkeypatch.setattr(serve_until_stopped, "serve", lambda *args, **keywords: calls.append((args, keywords)))
    parser = argparse.ArgumentParser()
    serve_commands.add_arguments(parser)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports/t5").mkdir(parents=True)
    (tmp_path / "models").write_text(FILE)

    serve_commands.run(
        parser.parse_args(["exports/t5", "--rest-port", "9", "--enable-batching", "--rest-api-enable-cors-support"])
    )
    serve_commands.run(
        parser.parse_args(
            [
                "--model-config-file=models",
                "--model-config-file-poll-wait-seconds=5",
                "--file-system-poll-wait-seconds=2",
            ]
        )
    )

    (first, first_keywords), (second, second_keywords) = calls
    assert first == ("exports/t5",)
    assert first_keywords["rest_port"] == 9
    assert first_keywords["options"] == ServingOptions(enable_batching=True, rest_api_enable_cors_support=True)
    assert second == (None,)
    assert second_keywords["poll_interval_s"] == 2
    assert second_keywords["options"].flags() == [
        "--model_config_file=models",
        "--model_config_file_poll_wait_seconds=5",
    ]
