"""The frozen T5: embed, encode, decode and compute logits; nothing in it trains.

`encode` and `decode` run through KerasHub's own layers, so a backbone's dtype policy and int8 quantization apply as they do
there. `forward` has cheaper passes for training a prompt and for scoring; `cheaper_passes.py` says when they are taken.
Knows nothing of prompts: `encode` takes embeddings, whatever was put in front of them.
"""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras_hub
import numpy as np
from keras import ops

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.backbones.checkpoints.weight_memory import as_array
from softprompt_tf.backbones.fingerprint import tokenizer_fingerprint, weights_fingerprint
from softprompt_tf.backbones.frozen_weights import check_unchanged, check_untrainable, freeze
from softprompt_tf.backbones.loading.device_layout import bytes_by_device, move_home
from softprompt_tf.backbones.loading.prepared_parts import check_gradients, prepare_parts
from softprompt_tf.backbones.passes.frozen_forward import FrozenForward
from softprompt_tf.backbones.passes.frozen_head import project_to_vocabulary
from softprompt_tf.backbones.passes.frozen_kernels import frozen
from softprompt_tf.backbones.passes.invertible_adapters import uncoupled
from softprompt_tf.backbones.passes.keras_layers import decode_by_layers, encode_by_layers, is_quantized
from softprompt_tf.backbones.passes.known_layers import changed_parts, dropout_rate, has_plain_head
from softprompt_tf.backbones.passes.layer_state import layer_state
from softprompt_tf.backbones.passes.placed import Placement, on_device, placed
from softprompt_tf.backbones.passes.training_pass import TrainingPass, training_pass_of
from softprompt_tf.backbones.quantized_projections import Filters, quantize_projections
from softprompt_tf.backbones.sizes import head_dim_of, sizes_of
from softprompt_tf.backbones.tokenization.sentinels import Sentinels
from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.injection import InvertibleAdapter
from softprompt_tf.keras_backend import check_backend, is_tensorflow
from softprompt_tf.typing import Tensor

# Padding masks are passed by hand. Keras's implicit ones are not used, and it would say so at every model that is built.
warnings.filterwarnings("ignore", message=r"Layer '(self|cross)_attention' .* does not support masking")

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2
START_ID = 0  # T5 starts the decoder with the padding id.


class FrozenT5:
    """A pretrained T5 with `trainable=False` on every layer, and its tokenizer.

    Args:
      backbone: a `keras_hub.models.T5Backbone`, float32 or bfloat16. It is frozen in place.
      tokenizer: the matching `keras_hub.models.T5Tokenizer`.
      name: what prompt files and messages call it.
      fingerprint: of the weights before they were quantized, where the backbone comes quantized. Default: computed.
      placement: which device holds what, where `lay_out` has laid the backbone over several.

    Raises:
      BackboneError: for another class of model, for float16, or where the tokenizer has more pieces than the model has rows.
      BackendError: under a Keras backend other than TensorFlow and JAX.

    Examples:
      >>> import keras
      >>> token_ids = keras.ops.array(t5.tokenize(["a charming film"]))
      >>> embeddings = t5.embed(token_ids)
      >>> states = t5.encode(embeddings, keras.ops.ones_like(token_ids))
      >>> states.shape == embeddings.shape  # [B, T, H]
      True
    """

    def __init__(
        self,
        backbone: keras_hub.models.T5Backbone,
        tokenizer: keras_hub.models.T5Tokenizer,
        *,
        name: str,
        fingerprint: str | None = None,
        placement: Placement | None = None,
    ):
        check_backend()
        prepare_parts(backbone, tokenizer)
        self.backbone = backbone
        self.freeze()
        self.placement = placement
        self.forward = FrozenForward(backbone, placement)
        self.tokenizer = tokenizer
        self.name = name
        self._seen_weights: str | None = None  # the fingerprint of the weights as they lie here, once it was asked for
        if fingerprint is not None:
            self.fingerprint = fingerprint  # in the place of the cached property
            self._seen_weights = weights_fingerprint(backbone)
        self.text_pieces = TextPieces(tokenizer.proto, num_rows=self.vocabulary_size)
        num_pieces = tokenizer.vocabulary_size()
        self._sentinels = Sentinels(self.text_pieces, num_pieces=num_pieces, num_rows=self.vocabulary_size)
        if is_tensorflow():
            # The tokenizer as TensorFlow ops, for data pipelines and for serving. Made here, as inside a graph its resource
            # would belong to that graph.
            self.graph_tokenizer = self.text_pieces.graph

    # === Sizes ===

    @property
    def hidden_dim(self) -> int:
        """H, the width of an embedding."""
        return int(self.backbone.hidden_dim)

    @property
    def vocabulary_size(self) -> int:
        """V, the rows of the embedding table, padding rows included."""
        return int(self.backbone.vocabulary_size)

    @property
    def num_heads(self) -> int:
        """N, the attention heads of a layer."""
        return int(self.backbone.num_heads)

    @property
    def head_dim(self) -> int:
        """D, the width of a key or a value; not always H / N."""
        return head_dim_of(self.backbone)

    @property
    def sizes(self) -> BackboneSizes:
        """What decides how large a task's tensors are."""
        return sizes_of(self.backbone)

    @property
    def bytes_by_device(self) -> dict[str, int]:
        """The bytes of the weights on each device, by names such as "GPU:0"; needs TensorFlow."""
        return bytes_by_device(self.backbone)

    @property
    def compute_dtype(self) -> str:
        """The dtype of embeddings and hidden states, "float32" or "bfloat16"."""
        return str(self.backbone.dtype_policy.compute_dtype)

    @property
    def dropout(self) -> float:
        """The largest rate of the dropouts that run while a prompt is trained; `load_t5` gives 0 unless it is asked for another."""
        return dropout_rate(self.backbone)

    @property
    def layer_changes(self) -> tuple[str, ...]:
        """Which layers are not KerasHub's own, unchanged, and in what; () for none."""
        return tuple(changed_parts(self.backbone))

    @property
    def layer_state(self) -> tuple[str, ...]:
        """What tells the layers as they are now from other changes of them, which may read alike. A graph is of one state."""
        return layer_state(self.backbone)

    @property
    def training_pass(self) -> TrainingPass:
        """Which pass trains a prompt: `.name` is "fused" or "layers", and `.reason` says why the slower one."""
        return training_pass_of(self.backbone)

    # === The forward pass ===

    def embed(self, token_ids: Tensor) -> Tensor:
        """Look up token embeddings: ids int [B, T] to [B, T, H] in the compute dtype."""
        with on_device(None if self.placement is None else self.placement.table):
            return self.backbone.token_embedding(token_ids)

    def encode(self, embeddings: Tensor, padding_mask: Tensor, *, recompute: bool = False) -> Tensor:
        """Run the encoder.

        Args:
          embeddings: [B, T, H]; rows in front of the text may be prompts.
          padding_mask: [B, T] int or bool, 1 = a position to attend to. Padding may be on either side, as T5's
            positions are relative.
          recompute: keep each layer's input only and run the layer again for its gradient.

        Returns:
          The encoder output [B, T, H]. Rows at masked positions mean nothing.
        """
        return encode_by_layers(self.backbone, self.placement, embeddings, padding_mask, recompute=recompute)

    def decode(
        self, token_ids: Tensor, encoder_output: Tensor, encoder_padding_mask: Tensor, *, recompute: bool = False
    ) -> Tensor:
        """Run the decoder on complete targets, as training does.

        Args:
          token_ids: int [B, U], the start id and then the targets, shifted by one. Padding comes after them, where
            a causal decoder never looks.
          encoder_output: [B, S, H].
          encoder_padding_mask: [B, S], 1 = a position to attend to.
          recompute: keep each layer's input only and run the layer again for its gradient.

        Returns:
          Decoder states [B, U, H].
        """
        embeddings = self.embed(token_ids)
        return decode_by_layers(
            self.backbone, self.placement, embeddings, encoder_output, encoder_padding_mask, recompute=recompute
        )

    def logits(self, states: Tensor, invertible: InvertibleAdapter | None = None, *, tuning: bool = False) -> Tensor:
        """Map decoder states [..., H] to logits [..., V] in float32.

        Args:
          states: of the decoder.
          invertible: whose inverse, [B, ...], comes before the head.
          tuning: whether the gradient of the states will be asked for.
        """

        def project(states: Tensor) -> Tensor:
            table = self.backbone.token_embedding
            if tuning and has_plain_head(self.backbone):
                return project_to_vocabulary(states, frozen(table.reverse_embeddings, self.compute_dtype))
            return ops.cast(table(states, reverse=True), "float32")

        states = uncoupled(self.head_inputs(states), invertible)
        return placed(None if self.placement is None else self.placement.head, project)(states)

    def head_inputs(self, states: Tensor) -> Tensor:
        """Return what decoder states [..., H] are as they go into the head: a tied one wants them times H^-0.5.

        Source: Raffel et al. 2020; google-research/t5x:t5x/examples/t5/network.py.
        """
        return states * self.hidden_dim**-0.5 if self.backbone.tie_embedding_weights else states

    def quantize(self, mode: str, *, filters: Filters = None, **kwargs: Any) -> None:
        """Quantize the projections as `keras.Model.quantize` does; fingerprint and initializers stay those of the float weights.

        The embedding table and the head stay as they are: of the gradient, Keras's int8 head passes only the part of its
        inputs' scale (Keras 3.15, `ReversibleEmbedding._int8_call`), so that a prompt would be trained on a wrong one.

        Args:
          mode: as in `keras.Model.quantize`, such as "int8".
          filters: which of the other layers, as in `keras.Model.quantize`; None for all.
          **kwargs: handed to `keras.Model.quantize`.
        """
        _ = self.stored_table, self.fingerprint  # of the weights before quantization
        quantize_projections(self.backbone, mode, filters=filters, **kwargs)
        if self.placement is not None:
            move_home(self.backbone, self.placement)
        self.freeze()
        self._seen_weights = None

    @property
    def is_quantized(self) -> bool:
        """Whether a layer is quantized."""
        return is_quantized(self.backbone)

    # === Text ===

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into lists of ids, without an end-of-sequence id; added tokens and sentinels in a text are one id each.

        Examples:
          >>> ids = t5.tokenize(["a charming film", "a dull film"])
          >>> t5.detokenize(ids)
          ['a charming film', 'a dull film']
        """
        return self.text_pieces.encode(texts)

    def detokenize(self, token_ids: Sequence[Sequence[int]]) -> list[str]:
        """Turn lists of ids into texts; padding, end of sequence, sentinels and ids that are no token's are left out."""
        return [self.text_pieces.decode([int(i) for i in ids if self._is_word(int(i))]) for ids in token_ids]

    def sentinel_id(self, k: int) -> int:
        """Return the id of sentinel `<extra_id_k>`: its piece's, else T5's, which counts down from 99 past the pieces.

        byT5 has no room for sentinels and uses its last bytes, counting down.

        Args:
          k: from 0 to 99.

        Raises:
          BackboneError: if k is out of range, or the embedding table has no row for the sentinel.

        Source: google/seqio, `SentencePieceVocabulary(extra_ids=100)`: of 32,000 pieces, sentinel 0 is id 32,099; Xue et al. 2022,
        ByT5, arXiv:2105.13626, section 3.1: the final 100 byte ids.
        """
        return self._sentinels.id_of(k)

    @property
    def sentinel_pieces(self) -> tuple[int, ...]:
        """The ids of the sentinels that are pieces of the vocabulary; () for T5's own, where they lie past the pieces."""
        return self._sentinels.pieces

    def _is_word(self, token_id: int) -> bool:
        if token_id >= self.tokenizer.vocabulary_size():
            return token_id in self.text_pieces.answer_tokens
        return token_id > EOS_ID and token_id not in self.sentinel_pieces

    # === Identity ===

    @cached_property
    def stored_table(self) -> np.ndarray:
        """The input embeddings [V, H] in their own dtype, read-only; on a CPU the memory of the weights."""
        return as_array(self.backbone.token_embedding.embeddings)

    @property
    def embedding_table(self) -> np.ndarray:
        """The input embeddings as float32 [V, H], read-only, from before any quantization of this object's backbone."""
        return np.asarray(self.stored_table, dtype=np.float32)

    @property
    def output_embeddings(self) -> np.ndarray:
        """The rows of the output projection as float32 [V, H]; those of a tied head are `embedding_table`."""
        if self.backbone.tie_embedding_weights:
            return self.embedding_table
        return np.asarray(as_array(self.backbone.token_embedding.reverse_embeddings), dtype=np.float32).T

    @cached_property
    def fingerprint(self) -> str:
        """A text that differs for other weights; cheap for 11 B parameters too."""
        self._seen_weights = weights_fingerprint(self.backbone)
        return self._seen_weights

    def await_weights(self, fingerprint: str | None = None) -> None:
        """Forget what was read of the weights, as others follow from a file.

        Args:
          fingerprint: of the float weights, where those that follow are quantized. Default: computed of what follows.
        """
        for name in ("stored_table", "fingerprint"):
            self.__dict__.pop(name, None)
        self._seen_weights = None
        if fingerprint is not None:
            self.fingerprint = fingerprint

    def freeze(self) -> None:
        """Make every weight of the backbone untrainable."""
        freeze(self.backbone)

    def check_frozen(self) -> None:
        """Refuse to go on where the backbone's weights can train, or are others than when a prompt was first tied to them.

        Prompts and other models share this object, and a prompt's file names its fingerprint.

        Raises:
          BackboneError: with the first weight that can train, both fingerprints, or a layer that is quantized without a gradient.
        """
        check_gradients(self.backbone)
        check_untrainable(self.backbone, self.name)
        now = weights_fingerprint(self.backbone)
        self._seen_weights = self._seen_weights or now
        check_unchanged(self.name, now=now, before=self._seen_weights)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.backbone, self.tokenizer.proto, self.name, self.fingerprint)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """A text that differs for another vocabulary."""
        return tokenizer_fingerprint(self.tokenizer)


def _restored(backbone: keras_hub.models.T5Backbone, tokenizer_proto: bytes, name: str, fingerprint: str) -> FrozenT5:
    """Return the T5 that was pickled."""
    return FrozenT5(backbone, keras_hub.models.T5Tokenizer(proto=tokenizer_proto), name=name, fingerprint=fingerprint)
