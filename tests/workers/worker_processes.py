"""A program that is started forked: becomes N workers of one run of the tiny T5, some of which may be killed.

It prints a JSON line for each worker: its exit status and the seconds until it ended, and what it has said.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def train(rank, ports, arguments):
    """Be one worker; end with the command's exit status."""
    from softprompt_tf.cli.cli import main

    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    os.environ["SOFTPROMPT_JOIN_TIMEOUT_S"] = "60"
    os._exit(main(arguments))


def die_at(rank, step):
    """Kill this worker when it has taken so many steps."""
    from softprompt_tf.training import callbacks
    from softprompt_tf.training.callbacks import BatchLogs, steps_done

    ended = BatchLogs.on_train_batch_end

    def end(self, batch, logs=None):
        ended(self, batch, logs)
        if steps_done(self.model) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.BatchLogs.on_train_batch_end = end


def die_after(seconds):
    """Kill this worker after some time, whatever it does then."""
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL])
    timer.daemon = True
    timer.start()


def started(rank, ports, arguments, killed):
    """Fork one worker; return its process id and the file with what it says."""
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115  until the program ends
    child = os.fork()
    if child:
        return child, said
    os.dup2(said.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    moment = killed.get(str(rank), 0)
    if isinstance(moment, float):
        die_after(moment)
    elif moment:
        die_at(rank, moment)
    train(rank, ports, arguments)


if __name__ == "__main__":
    # workers, of which some are killed (rank -> step, or seconds as a float), then the arguments of `softprompt`
    count, killed, *arguments = sys.argv[1:]
    ports = free_ports(int(count))
    begun = time.monotonic()
    workers = [started(rank, ports, arguments, json.loads(killed)) for rank in range(int(count))]
    ended = {}
    while len(ended) < len(workers):
        child, status = os.wait()
        ended[child] = os.waitstatus_to_exitcode(status), time.monotonic() - begun
    for child, said in workers:
        said.seek(0)
        status, seconds = ended[child]
        print(json.dumps({"status": status, "seconds": seconds, "said": said.read()}))
