"""What a task has to know of the backbone that will serve it, from the T5 itself or from an export's record of it.

The record is a small JSON file in the export's `assets.extra/`, which model servers leave alone; the vocabulary is read out
of the graph, where it is anyway.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.backbones.tokenization.text_rules import rules_of
from softprompt_tf.errors import BackboneError, ConfigError, ExportError
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.target_format import TARGET_FORMATS

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5

RECORD_FILE = Path("assets.extra") / "softprompt_tf.json"
_FORMAT = "softprompt-tf-export/1"
_TOKENIZER_OP = "SentencepieceOp"


@dataclass(frozen=True)
class ServedBackbone:
    """A frozen T5 as its tasks see it.

    Args:
      name: what messages call it.
      fingerprint: of its weights.
      tokenizer_fingerprint: of its vocabulary.
      hidden_dim: H.
      first_sentinel: the id of `<extra_id_0>`; None where the T5 has no row for it.
      tokenize: texts -> ids, without an end of sequence.
      sizes: its sizes. None where an export does not record them, as one of prompts alone needs none but H.
    """

    name: str
    fingerprint: str
    tokenizer_fingerprint: str
    hidden_dim: int
    first_sentinel: int | None
    tokenize: Callable[[Sequence[str]], list[list[int]]]
    sizes: BackboneSizes | None = None

    @classmethod
    def of(cls, t5: "FrozenT5") -> "ServedBackbone":
        """Describe a T5 that is loaded."""
        try:
            first_sentinel = t5.sentinel_id(0)
        except BackboneError:
            first_sentinel = None
        return cls(
            t5.name, t5.fingerprint, t5.tokenizer_fingerprint, t5.hidden_dim, first_sentinel, t5.tokenize, t5.sizes
        )

    def opening_id(self, target_format: str) -> int:
        """Return the id that the decoder writes before a target: sentinel 0 in the format "sentinel", 0 (nothing) in "text".

        Raises:
          ConfigError: for another format.
          BackboneError: if the T5 has no sentinel.
        """
        if target_format not in TARGET_FORMATS:
            raise ConfigError(
                f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: {target_format!r}."
            )
        if target_format != "sentinel":
            return 0
        if self.first_sentinel is None:
            raise BackboneError(
                "The embedding table must have a row for sentinel <extra_id_0>. "
                f"Received: model {self.name}, which has none. Use the target format `text`, or a T5 with sentinels."
            )
        return self.first_sentinel


@dataclass(frozen=True)
class ExportRecord:
    """What an export says of itself, for tasks that are added later.

    Args:
      backbone: name, fingerprint, tokenizer_fingerprint, hidden_dim and first_sentinel of a `ServedBackbone`; and its sizes
        where the graph has tables of other tensors than prompts.
      max_answer_tokens: the longest answer that its graph decodes; None where the tasks alone set limits. Graphs of earlier
        versions of this library have a number.
      table_dtype: how its prompts are stored.
      sampler: how its graph decodes, as Keras serializes it; None for a sampler that cannot be.
      library_version: which version of this library wrote its graph.
      compute_dtype: "bfloat16" where its graph computes in that; None for float32, which is not written, so that earlier
        versions of this library read the record.
    """

    backbone: Mapping[str, Any]
    max_answer_tokens: int | None
    table_dtype: str
    sampler: Mapping[str, Any] | None
    library_version: str
    compute_dtype: str | None = None

    def write(self, directory: Path) -> None:
        """Write the record into a version directory."""
        path = directory / RECORD_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": _FORMAT, **vars(self)}
        if self.compute_dtype is None:
            del content["compute_dtype"]
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> "ExportRecord":
        """Read the record of a version directory.

        Raises:
          ExportError: if there is none, as in exports of earlier versions of this library, or it is damaged.
        """
        path = directory / RECORD_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT!r}")
            return cls(**content)
        except FileNotFoundError as error:
            raise ExportError(
                f"Tasks are changed in exports that record their backbone. Received: {directory}, without {RECORD_FILE}. "
                "Write it anew with `write_saved_model`."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ExportError(f"The record of an export must be readable. Received: {path}: {error}.") from error

    def served_backbone(self, directory: Path) -> ServedBackbone:
        """Return the backbone with the tokenizer of the graph in `directory`.

        Raises:
          ExportError: if the graph has no vocabulary, or the record lacks a field.
        """
        try:
            known = {**self.backbone}
            sizes = known.pop("sizes", None)
            return ServedBackbone(
                **known,
                tokenize=TextPieces(vocabulary_of(directory)).encode,
                sizes=None if sizes is None else BackboneSizes(**sizes),
            )
        except TypeError as error:
            raise ExportError(
                f"The record of an export must name its backbone. Received: {directory}: {error}."
            ) from error


def record_of(backbone: ServedBackbone, *, with_sizes: bool = False) -> dict[str, Any]:
    """Return what a record keeps of a backbone; its sizes where they are asked for, as prompts alone need none but H."""
    kept = {name: value for name, value in vars(backbone).items() if name not in ("tokenize", "sizes")}
    sizes = {"sizes": dataclasses.asdict(backbone.sizes)} if with_sizes and backbone.sizes else {}
    return {**kept, "name": own_name(backbone.name), **sizes}


def vocabulary_of(directory: Path) -> bytes:
    """Return the SentencePiece model that the graph's tokenizer holds.

    Raises:
      ExportError: if the graph cannot be read, or has none.
    """
    path = directory / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ExportError(f"The graph of an export must be readable. Received: {path}: {error}.") from error
    models = []
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            models += [node.attr["model"].s for node in nodes if node.op == _TOKENIZER_OP and node.attr["model"].s]
    # A map of characters is a model of its own, without rules; the vocabulary that uses it has some.
    for model in [*(model for model in models if rules_of(model) is not None), *models]:
        return bytes(model)
    raise ExportError(f"An export must hold its vocabulary. Received: {path}, with no tokenizer.")
