"""HTTP of the REST form, byte by byte: what TF Serving's own HTTP server does beside answering, on an answer known by hand."""

import gzip
import http.client
import json
import socket
import time

import pytest

from softprompt_tf.export.server.http_server import RestServer

MAX_BODY_BYTES = 20_000
PATH = "/v1/models/m:predict"
JSON = "application/json"
PAGE = "<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n</BODY></HTML>\n"


@pytest.fixture(scope="module")
def port():
    """A server that answers with what it was asked."""

    def echo(method, path, body):
        return 200, json.dumps([method, path, body.decode()]).encode()

    server = RestServer(echo, host="127.0.0.1", port=0, max_body_bytes=MAX_BODY_BYTES)
    server.start()
    yield server.port
    server.close()


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def converse(port, *parts, wait_s=5.0):
    """Send bytes, and read until the connection ends or nothing comes any more; return what came."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            pass
        return received


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (PATH, PATH),
        (f"{PATH}?a=b", f"{PATH}?a=b"),
        (f"{PATH}#x", f"{PATH}#x"),
        (f"http://elsewhere{PATH}", PATH),
        (f"{PATH}%20x", f"{PATH}%20x"),
        ("/V1/Models/m:predict", "/V1/Models/m:predict"),
    ],
)
def test_the_answer_sees_the_path_with_query_and_fragment(port, target, path):
    status, _, content = ask(port, "POST", target, b"{}")

    assert (status, json.loads(content)) == (200, ["POST", path, "{}"])


@pytest.mark.parametrize(
    ("method", "target", "code", "reason"),
    [
        ("GET", "/", 404, "Not Found"),
        ("GET", "/v2/models/m", 404, "Not Found"),
        ("POST", f"/{PATH}", 404, "Not Found"),  # the first part is then a host
        ("OPTIONS", "/", 404, "Not Found"),
        ("POST", "/v1/models/%zz:predict", 400, "Bad Request"),
        ("POST", "/v1/models/a|b:predict", 400, "Bad Request"),
        ("TRACE", PATH, 501, "Not Implemented"),
        ("BREW", PATH, 501, "Not Implemented"),
    ],
)
def test_what_no_handler_takes_gets_a_page_and_the_connection_ends(port, method, target, code, reason):
    status, headers, content = ask(port, method, target)

    assert (status, content.decode()) == (code, PAGE.format(code, reason))
    assert (headers["Content-Type"], headers["Connection"]) == ("text/html", "close")


@pytest.mark.parametrize(("headers", "code"), [({"Origin": "http://x.org"}, 200), ({}, 400)], ids=["origin", "none"])
def test_a_preflight_is_answered_where_it_has_an_origin(port, headers, code):
    status, received, content = ask(port, "OPTIONS", PATH, headers=headers)

    assert (status, received["Content-Length"], content) == (code, "0", b"")


ALLOWED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


def allowed(headers):
    return {name: value for name, value in headers.items() if name.lower().startswith("access-control-")}


def test_pages_of_other_origins_are_not_allowed_unless_asked_for(port):
    for method in ("OPTIONS", "GET", "POST"):
        assert allowed(ask(port, method, PATH, headers={"Origin": "http://x.org"})[1]) == {}


def test_pages_of_other_origins_are_allowed_where_asked_for():
    server = RestServer(
        lambda *_: (400, b"{}"), host="127.0.0.1", port=0, max_body_bytes=MAX_BODY_BYTES, enable_cors=True
    )
    server.start()
    origin = {"Origin": "http://x.org"}

    preflight = ask(server.port, "OPTIONS", PATH, headers={**origin, "Access-Control-Request-Method": "POST"})
    answers = [ask(server.port, method, PATH, headers=origin) for method in ("GET", "POST")]
    page = ask(server.port, "GET", "/elsewhere", headers=origin)
    server.close()

    assert (preflight[0], preflight[2]) == (200, b"")
    assert [{name.title(): value for name, value in allowed(each[1]).items()} for each in (preflight, *answers)] == [
        ALLOWED
    ] * 3
    assert [each[0] for each in answers] == [400, 400]  # an error is read by the page too
    assert (page[0], allowed(page[1])) == (404, {})


def test_head_has_no_body(port):
    status, headers, content = ask(port, "HEAD", PATH)

    assert (status, headers["Content-Type"], content) == (200, JSON, b"")


def test_a_chunked_body_is_read(port):
    parts = iter([b'{"a"', b": 1}"])

    status, _, content = ask(port, "POST", PATH, parts)  # of a body whose length it does not know, Python sends chunks

    assert (status, json.loads(content)[2]) == (200, '{"a": 1}')


def test_who_expects_100_continue_gets_it_before_the_body(port):
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode())
        interim = connection.recv(1000)
        connection.sendall(b"{}")
        answer = connection.recv(65536)

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("packed", "body"),
    [
        (gzip.compress(b'{"a": 1}'), '{"a": 1}'),
        (gzip.compress(b'{"a": 1}')[:-9], ""),  # cut
        (b"{}", ""),  # no gzip
        (gzip.compress(b"x" * (MAX_BODY_BYTES + 1)), ""),  # too large once unpacked
    ],
    ids=["whole", "cut", "plain", "large"],
)
def test_a_gzip_body_is_unpacked_and_a_broken_one_is_empty(port, packed, body):
    status, _, content = ask(port, "POST", PATH, packed, {"Content-Encoding": "gzip"})

    assert (status, json.loads(content)[2]) == (200, body)


@pytest.mark.parametrize("body", [b"x" * (MAX_BODY_BYTES + 1), [b"x" * 1000] * 21], ids=["length", "chunked"])
def test_a_body_beyond_the_limit_is_refused(port, body):
    status, received, _ = ask(port, "POST", PATH, body if isinstance(body, bytes) else iter(body))

    assert (status, received["Connection"]) == (413, "close")


def test_a_body_up_to_the_limit_is_answered(port):
    assert ask(port, "POST", PATH, b"x" * MAX_BODY_BYTES)[0] == 200


@pytest.mark.parametrize("expect", ["Expect: 100-continue\r\n", ""], ids=["expect", "none"])
def test_a_body_that_says_that_it_is_huge_is_refused_before_it_comes(port, expect):
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: 99999999999\r\n\r\n"

    assert converse(port, head.encode()).startswith(b"HTTP/1.1 413 ")


def test_what_is_no_http_is_refused_and_the_next_request_answered(port):
    assert converse(port, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert converse(port, f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 400 "
    )
    assert ask(port, "GET", PATH)[0] == 200


def test_two_requests_in_one_packet_are_both_answered(port):
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n"

    received = converse(port, f"{request}\r\n{request}Connection: close\r\n\r\n".encode())

    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_a_kept_connection_answers_again_and_fast(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times = []
    for _ in range(10):
        start_s = time.perf_counter()
        connection.request("GET", PATH)
        assert connection.getresponse().read()
        times.append(time.perf_counter() - start_s)
    connection.close()

    assert sorted(times)[5] < 0.03  # a delayed acknowledgement alone would take 0.04 s


def test_a_port_that_is_taken_is_an_error(port):
    with pytest.raises(OSError, match="in use"):
        RestServer(lambda *_: (200, b""), host="127.0.0.1", port=port, max_body_bytes=1)


def test_close_frees_the_port_also_where_it_never_started():
    server = RestServer(lambda *_: (200, b""), host="127.0.0.1", port=0, max_body_bytes=1)
    server.close()

    RestServer(lambda *_: (200, b""), host="127.0.0.1", port=server.port, max_body_bytes=1).close()
