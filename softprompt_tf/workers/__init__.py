"""One training shared by several processes, on one machine or on many.

Each process is a worker with a model of its own, on one device. What they exchange is small: the gradient of what is trained,
sums of losses and counts, and the answers to dev rows.
"""

from softprompt_tf.workers.cluster import is_chief, join_workers, joined, own_part, working_together
from softprompt_tf.workers.tf_config import Cluster, read_cluster

__all__ = ["Cluster", "is_chief", "join_workers", "joined", "own_part", "read_cluster", "working_together"]
