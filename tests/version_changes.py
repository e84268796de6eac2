"""Questions to a model server that take more than one call: versions that come and go, a full queue, a new config."""

import os
import shutil
import threading

from echo_model import wait_until

GOOD = {"task_id": ["x"], "text": ["a"]}
AVAILABLE, END = 30, 50


def rows(*values, **spec):
    return {"text": list(values)}, {"name": "rows", **spec}


def ids(*values):
    return {"ids": list(values)}, {"name": "rows", "signature": "ids"}


def put_version(server, number):
    shutil.copytree(server.directory.parent / "echo" / str(number), server.directory / "incoming")
    os.rename(server.directory / "incoming", server.directory / "moving" / str(number))


def score(server):
    code, content = server.predict(GOOD, name="moving")
    return content["score"][0] if code == "OK" else code


def hand_over(server):
    """Ask without a pause while version 2 arrives; return every answer and the states afterwards."""
    answers, stop = [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            answers.append(score(server))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    put_version(server, 2)
    wait_until(lambda: answers and answers[-1] == 201.0, timeout_s=60)
    stop.set()
    asking.join()
    wait_until(lambda: server.status("moving") == ("OK", [(2, AVAILABLE), (1, END)]), timeout_s=60)
    return set(answers)


def go_back(server):
    put_version(server, 2)
    wait_until(lambda: score(server) == 201.0, timeout_s=60)
    shutil.rmtree(server.directory / "moving" / "2")
    wait_until(lambda: score(server) == 101.0, timeout_s=60)
    return server.status("moving", 2)[0]


def empty_the_base_path(server):
    shutil.rmtree(server.directory / "moving" / "1")
    wait_until(lambda: score(server) == "NOT_FOUND", timeout_s=60)
    return server.status("moving")


def copy_half(version, target):
    """Copy a version without the file that holds its variables.

    Without their index too, TensorFlow takes it for a version that has none, and loads it.
    """
    shutil.copytree(version, target, ignore=shutil.ignore_patterns("variables.data-*"))


def half_a_version(server):
    """Begin to copy a version: its graph and the index of its variables are there, the variables are not."""
    half = server.directory / "moving" / "2"
    copy_half(server.directory.parent / "echo" / "2", half)
    wait_until(lambda: server.status("moving", 2)[0] == "OK", timeout_s=60)
    return score(server), server.status("moving", 1)


def fill_the_queue(server):
    """Send four rows while one waits, until the one has come first."""
    for _ in range(50):
        _, answer = server.together(rows("a"), rows("a", "b", "c", "d"))
        if answer[0] != "OK":
            return answer
    return answer


def reload_labels(server):
    model = {"name": "echo", "base_path": str(server.directory.parent / "echo")}
    refused = server.reload({**model, "version_labels": {"stable": 7}})
    moved = server.reload({**model, "version_labels": {"stable": 2}})
    return refused[0], moved[0], server.predict(GOOD, label="stable", output_filter=["score"])


def reload_without_the_model(server):
    base_path = str(server.directory.parent / "echo")
    return server.reload({"name": "more", "base_path": base_path})[0], server.predict(GOOD)[0], score_of_more(server)


def score_of_more(server):
    return server.predict(GOOD, name="more", output_filter=["score"])
