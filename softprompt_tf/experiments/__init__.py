"""Sweeps: run the experiments of a YAML file, each run once."""

from softprompt_tf.experiments.results import ResultStore, RunResult

__all__ = ["ResultStore", "RunResult"]
