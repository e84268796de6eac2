"""TLS and mutual TLS with certificates that the deployment kit's own scripts make, over real handshakes on 127.0.0.1.

The servers take their keys from the ssl.config file as TF Serving does (BuildServerCredentialsFromSSLConfigFile in
model_servers/server.cc): the message holds PEM text, and `client_verify` asks every client for a certificate.
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from fake_model_server import FakeServer
from tf_serving_protos import read_text_proto

from softprompt_tf.cli.cli import main
from softprompt_tf.errors import ConfigError, ServingError
from softprompt_tf.export.client.async_client import AsyncPredictionClient
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.client.client_options import tls_credentials

SCRIPTS = Path(__file__).resolve().parents[2] / "export" / "deploy" / "tls"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the scripts need openssl")


def make_certificates(directory, *names):
    subprocess.run(["sh", SCRIPTS / "make_certificates.sh", directory, *names], check=True)
    return directory


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def other_certificates(tmp_path_factory):
    """Those of another authority, for another name."""
    return make_certificates(tmp_path_factory.mktemp("other"), "elsewhere.example")


def serve_with(ssl_config):
    """A server with the credentials that TF Serving would make of the file."""
    config = read_text_proto("SSLConfig", ssl_config.read_text(encoding="ascii"))
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
    return FakeServer(credentials=credentials)


@pytest.fixture(scope="module")
def mutual_server(certificates):
    fake = serve_with(certificates / "ssl.config")
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def tls_server(certificates, tmp_path_factory):
    """A server with a certificate of its own that asks the clients for none."""
    ssl_config = tmp_path_factory.mktemp("tls") / "ssl.config"
    command = ["sh", SCRIPTS / "write_ssl_config.sh", certificates / "server.key", certificates / "server.crt"]
    ssl_config.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    fake = serve_with(ssl_config)
    yield fake
    fake.stop()


def credentials_from(directory):
    return tls_credentials(
        root_certificates=directory / "ca.crt",
        client_key=directory / "client.key",
        client_certificate=directory / "client.crt",
    )


def ask(server, credentials):
    with PredictionClient(
        server.target, model_name="t5", credentials=credentials, timeout_s=10, max_retries=0
    ) as client:
        return client.generate(["x"], task_id="a")[0].text


def test_a_client_that_trusts_the_authority_is_answered(tls_server, certificates):
    assert ask(tls_server, tls_credentials(root_certificates=certificates / "ca.crt")) == "a|x"


def test_a_client_with_a_certificate_is_answered_under_mutual_tls(mutual_server, certificates):
    assert ask(mutual_server, credentials_from(certificates)) == "a|x"


def test_the_asyncio_client_is_answered_under_mutual_tls(mutual_server, certificates):
    async def main():
        settings = {"model_name": "t5", "credentials": credentials_from(certificates), "timeout_s": 10}
        async with AsyncPredictionClient(mutual_server.target, **settings) as client:
            return await client.generate(["x"], task_id="a")

    assert asyncio.run(main())[0].text == "a|x"


def test_a_client_without_a_certificate_is_refused_under_mutual_tls(mutual_server, certificates):
    with pytest.raises(ServingError, match="UNAVAILABLE .* Hint: .* does it speak TLS where this client does"):
        ask(mutual_server, tls_credentials(root_certificates=certificates / "ca.crt"))


def test_a_client_of_another_authority_is_refused_under_mutual_tls(mutual_server, certificates, other_certificates):
    credentials = tls_credentials(
        root_certificates=certificates / "ca.crt",
        client_key=other_certificates / "client.key",
        client_certificate=other_certificates / "client.crt",
    )

    with pytest.raises(ServingError, match="UNAVAILABLE"):
        ask(mutual_server, credentials)


def test_a_server_of_another_authority_is_refused(tls_server, other_certificates):
    with pytest.raises(ServingError, match="UNAVAILABLE .*CERTIFICATE_VERIFY_FAILED"):
        ask(tls_server, tls_credentials(root_certificates=other_certificates / "ca.crt"))


def test_a_server_of_another_name_is_refused(other_certificates):
    server = serve_with(other_certificates / "ssl.config")

    try:
        with pytest.raises(ServingError, match="UNAVAILABLE .*Hostname Verification Check failed"):
            ask(server, credentials_from(other_certificates))
    finally:
        server.stop()


def test_plain_text_to_a_tls_server_is_unavailable(tls_server):
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        ask(tls_server, None)


def test_a_key_without_its_certificate_is_refused(certificates):
    with pytest.raises(ConfigError, match="Give `client_key` and `client_certificate` together. Received: "):
        tls_credentials(client_key=certificates / "client.key")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        ConfigError, match="`root_certificates` must be a readable PEM file. Received: .*none.crt: No such"
    ):
        tls_credentials(root_certificates=tmp_path / "none.crt")


@pytest.mark.parametrize("path", [5, "a\0b"])
def test_what_is_no_path_of_a_certificate_is_named(path):
    with pytest.raises(ConfigError, match="`root_certificates` must be a readable PEM file. Received: "):
        tls_credentials(root_certificates=path)


def test_a_file_that_is_not_pem_is_named(tmp_path):
    (tmp_path / "ca.der").write_bytes(b"\x30\x82")

    with pytest.raises(
        ConfigError, match="`root_certificates` must be a PEM file. Received: .*ca.der, which has no line"
    ):
        tls_credentials(root_certificates=tmp_path / "ca.der")


def test_the_scripts_keep_the_keys_to_their_owner(certificates):
    assert {path.stat().st_mode & 0o077 for path in certificates.iterdir()} == {0}


def test_the_ssl_config_script_refuses_what_is_not_pem(certificates, tmp_path):
    (tmp_path / "key").write_text("a secret")

    result = subprocess.run(
        ["sh", SCRIPTS / "write_ssl_config.sh", tmp_path / "key", certificates / "server.crt"],
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert "must be a PEM file" in result.stderr


# === softprompt query ===


def query(server, *options):
    return main(["query", server.target, "--model-name", "t5", "--task-id", "a", "--text", "x", *map(str, options)])


def test_a_trusted_authority_is_enough_where_the_server_asks_for_no_certificate(tls_server, certificates, capsys):
    status = query(tls_server, "--root-certificates", certificates / "ca.crt", "--timeout", 10)

    assert status == 0
    assert json.loads(capsys.readouterr().out)["text"] == "a|x"


def test_key_and_certificate_are_shown_to_a_server_that_asks_for_them(mutual_server, certificates, capsys):
    files = ["--root-certificates", certificates / "ca.crt", "--client-key", certificates / "client.key"]

    status = query(mutual_server, *files, "--client-certificate", certificates / "client.crt", "--timeout", 10)

    assert status == 0
    assert json.loads(capsys.readouterr().out)["text"] == "a|x"


@pytest.mark.parametrize("options", [["--tls"], []], ids=["gRPC's own authorities", "plain text"])
def test_a_tls_server_does_not_answer_others(tls_server, options, capsys):
    status = query(tls_server, *options, "--timeout", 2)

    assert status == 2
    assert "softprompt: " in capsys.readouterr().err


def test_an_authority_that_did_not_sign_is_told(tls_server, other_certificates, capsys):
    assert query(tls_server, "--root-certificates", other_certificates / "ca.crt", "--timeout", 2) == 2
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--client-key", "client.key"], "Give `client_key` and `client_certificate` together. Received: "),
        (["--root-certificates", "none.crt"], "`root_certificates` must be a readable PEM file. Received: none.crt"),
        (["--timeout", "0"], "`timeout_s` must be greater than 0. Received: timeout_s=0.0."),
        (["--attempt-timeout", "-1"], "`attempt_timeout_s` must be greater than 0. Received: attempt_timeout_s=-1.0."),
    ],
)
def test_an_option_that_cannot_be_is_told_before_anybody_is_asked(options, message, capsys):
    arguments = ["query", "127.0.0.1:9", "--model-name", "t5", "--task-id", "a", "--text", "x"]

    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err
