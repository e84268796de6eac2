"""Read TF_CONFIG: the addresses of all workers of a training, and which of them this process is."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from softprompt_tf.errors import ConfigError

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")
_EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of one training.

    Args:
      jobs: "chief" and "worker" to their addresses, as TF_CONFIG has them.
      job: which of the two this process is.
      index: its place there.
    """

    jobs: Mapping[str, tuple[str, ...]]
    job: str
    index: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of each worker, the chief's first."""
        return tuple(address for job in JOBS for address in self.jobs.get(job, ()))

    @property
    def rank(self) -> int:
        """This worker's place among all of them; the chief's is 0."""
        return self.index if self.job == JOBS[0] else self.index + len(self.jobs.get(JOBS[0], ()))

    @property
    def size(self) -> int:
        return len(self.addresses)

    def name(self, address: str) -> str:
        """Return TensorFlow's name of the worker at an address, such as "/job:worker/replica:0/task:1"."""
        return next(
            f"/job:{job}/replica:0/task:{addresses.index(address)}"
            for job, addresses in self.jobs.items()
            if address in addresses
        )


def read_cluster(environment: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster that TF_CONFIG describes.

    Args:
      environment: has the variable. Default: that of this process.

    Raises:
      ConfigError: if it is not there, is no JSON, names no cluster or no task, or the task is not in the cluster.

    Examples:
      >>> from softprompt_tf.workers import read_cluster
      >>> two = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
      >>> read_cluster({"TF_CONFIG": two}).rank
      1
    """
    text = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    if not text:
        raise ConfigError(
            f"Strategy 'multi_worker' needs the environment variable {VARIABLE}, such as {_EXAMPLE}. Received: none. On one "
            "machine `softprompt train CONFIG --workers 2` sets it."
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal("be JSON", f"{text[:200]} ({error})") from error
    if not isinstance(values, dict):
        raise _refusal("be a JSON object", text[:200])
    jobs = _jobs(values.get("cluster"))
    return Cluster(jobs, *_task(values.get("task"), jobs))


def _jobs(cluster: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(cluster, dict) or not any(cluster.values()):
        raise _refusal("have a `cluster` with the address of each worker", f"cluster={cluster!r}")
    unknown = sorted(set(cluster) - set(JOBS))
    if unknown:
        raise _refusal("name no jobs but chief and worker", f"{', '.join(unknown)}")
    jobs = {job: _addresses(job, cluster[job]) for job in JOBS if cluster.get(job)}
    if len(jobs.get("chief", ())) > 1:
        raise _refusal("have one chief at most", f"chief={cluster['chief']!r}")
    addresses = [address for each in jobs.values() for address in each]
    if len(set(addresses)) < len(addresses):
        raise _refusal("give each worker an address of its own", ", ".join(addresses))
    return jobs


def _addresses(job: str, addresses: Any) -> tuple[str, ...]:
    if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
        raise _refusal("have a list of addresses for each job", f"{job}={addresses!r}")
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise _refusal("have addresses of the form HOST:PORT", repr(address))
    return tuple(addresses)


def _task(task: Any, jobs: Mapping[str, tuple[str, ...]]) -> tuple[str, int]:
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise _refusal("have a `task` with `type` and `index`", f"task={task!r}")
    job, index = task["type"], task["index"]
    if job not in list(jobs):  # also of a job that is no text
        raise _refusal(f"have a `task.type` that is in its cluster: {', '.join(jobs)}", repr(job))
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[job]):
        raise _refusal(
            f"have a `task.index` from 0 up to {len(jobs[job]) - 1}, as there are {len(jobs[job])} of {job}",
            repr(index),
        )
    return job, index


def _refusal(rule: str, received: str) -> ConfigError:
    return ConfigError(f"{VARIABLE} must {rule}. Received: {received}. Such as {_EXAMPLE}.")
