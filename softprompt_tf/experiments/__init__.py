"""Sweeps: a YAML file of experiments enters, one result per run leaves, and nothing that is finished runs twice."""

from softprompt_tf.experiments.results import ResultStore, RunResult

__all__ = ["ResultStore", "RunResult"]
