"""What trained prompts say: their words, clusters, class labels and distances, as tables, a heat map and projector files.

Names are loaded at first use, so that the command line starts without TensorFlow.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.interpretability.class_labels import LabelShare, label_share
    from softprompt_tf.interpretability.clusters import cluster_rows, shared_words
    from softprompt_tf.interpretability.distances import matched_cosine, mean_cosine, token_cosine
    from softprompt_tf.interpretability.heat_map import draw_heat_map, write_heat_map
    from softprompt_tf.interpretability.inspection import Inspection, PromptInspection, inspect_prompts
    from softprompt_tf.interpretability.projector import write_projector
    from softprompt_tf.interpretability.sources import RankedSource, read_sources, similar_sources

__all__ = [
    "Inspection",
    "LabelShare",
    "PromptInspection",
    "RankedSource",
    "cluster_rows",
    "draw_heat_map",
    "inspect_prompts",
    "label_share",
    "matched_cosine",
    "mean_cosine",
    "read_sources",
    "shared_words",
    "similar_sources",
    "token_cosine",
    "write_heat_map",
    "write_projector",
]

_HOME = {
    "Inspection": "inspection",
    "LabelShare": "class_labels",
    "PromptInspection": "inspection",
    "RankedSource": "sources",
    "cluster_rows": "clusters",
    "draw_heat_map": "heat_map",
    "inspect_prompts": "inspection",
    "label_share": "class_labels",
    "matched_cosine": "distances",
    "mean_cosine": "distances",
    "read_sources": "sources",
    "shared_words": "clusters",
    "similar_sources": "sources",
    "token_cosine": "distances",
    "write_heat_map": "heat_map",
    "write_projector": "projector",
}


__getattr__ = lazy_names(__name__, _HOME)
