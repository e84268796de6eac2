"""The guide's Job for Kubernetes: its schema, and the TF_CONFIG that its script makes."""

import subprocess

import kubernetes_validate
import pytest
import yaml
from page_blocks import ROOT, blocks_of

from softprompt_tf.workers import read_cluster

(BLOCK,) = (block.code for block in blocks_of(ROOT / "docs/how_to/many_machines.md") if block.language == "yaml")
SERVICE, JOB = yaml.safe_load_all(BLOCK)


@pytest.mark.parametrize("manifest", [SERVICE, JOB], ids=["service", "job"])
def test_a_manifest_fits_its_schema(manifest):
    kubernetes_validate.validate(manifest, "1.35", strict=True)


def test_each_pod_knows_all_workers_and_which_it_is():
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    workers = {each["name"]: each["value"] for each in container["env"]}
    shown = script.replace("exec softprompt", 'printf %s "$TF_CONFIG"; exit; softprompt')

    done = subprocess.run(
        [*container["command"], shown],
        env={"PATH": "/usr/bin:/bin", "JOB_COMPLETION_INDEX": "2", **workers},
        capture_output=True,
        text=True,
        check=True,
    )

    cluster = read_cluster({"TF_CONFIG": done.stdout})
    assert cluster.rank == 2
    assert cluster.addresses == tuple(f"film-{index}.film:2222" for index in range(4))
    assert SERVICE["metadata"]["name"] == JOB["spec"]["template"]["spec"]["subdomain"]
    assert int(workers["WORKERS"]) == JOB["spec"]["completions"] == JOB["spec"]["parallelism"]
