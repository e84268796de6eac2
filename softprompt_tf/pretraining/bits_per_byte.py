"""Measure how many bits a T5 needs per byte of held-out text.

Cross-entropy per token cannot be compared between vocabularies, as a token of one is longer than a token of the other;
bits per byte can. The text is scored as prefix LM: half of a window of tokens is the encoder's input, the other half
the target.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras_hub
import sentencepiece
import tensorflow as tf

from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.errors import BackboneError, DataError
from softprompt_tf.pretraining.batches import EOS_ID, Batch, pad_batch

SHORTEST_WINDOW = 16
_INPUT_MULTIPLE = 8
_TARGET_MULTIPLE = 4
_SPACE_MARK = "\u2581"  # what SentencePiece writes in place of a space


@dataclass(frozen=True)
class BitsPerByte:
    """How well a text was foretold.

    Args:
      bits_per_byte: bits needed for a byte of the targets' text in UTF-8.
      nats_per_token: the mean cross-entropy of a target token, the end of sequence left out.
      num_tokens: the target tokens.
      num_bytes: the bytes of their text.
    """

    bits_per_byte: float
    nats_per_token: float
    num_tokens: int
    num_bytes: int

    @classmethod
    def of(cls, nats: float, *, num_tokens: int, num_bytes: int) -> "BitsPerByte":
        """Return the figures of targets that cost `nats` together."""
        return cls(nats / math.log(2) / num_bytes, nats / num_tokens, num_tokens, num_bytes)


@dataclass(frozen=True)
class Window:
    """Consecutive tokens of one document, cut in two.

    Args:
      context: the ids that are given.
      targets: the ids behind them, which are to be foretold.
      num_bytes: the bytes of the targets' text.
    """

    context: tuple[int, ...]
    targets: tuple[int, ...]
    num_bytes: int


def cut_windows(
    documents: Iterable[str],
    tokenizer: sentencepiece.SentencePieceProcessor,
    *,
    window: int = 128,
    context: float = 0.5,
) -> list[Window]:
    """Cut every document into consecutive windows; a last one of fewer than `SHORTEST_WINDOW` tokens is left out.

    Args:
      documents: the texts.
      tokenizer: the SentencePiece model, in T5's layout.
      window: tokens of a window, at least `SHORTEST_WINDOW`.
      context: the share of a window that is given, in (0, 1), rounded down to whole tokens.

    Raises:
      DataError: if `window` or `context` is out of range, or no document is long enough for a window.
    """
    if window < SHORTEST_WINDOW:
        raise DataError(f"`window` must be at least {SHORTEST_WINDOW} tokens. Received: window={window}.")
    if not 1 / SHORTEST_WINDOW <= context < 1:
        raise DataError(f"`context` must be a share in [1/{SHORTEST_WINDOW}, 1). Received: context={context}.")
    windows = []
    for document in documents:
        ids, sizes = tokenizer.encode(document), piece_sizes(document, tokenizer)
        for start in range(0, len(ids) - SHORTEST_WINDOW + 1, window):
            end = min(start + window, len(ids))
            cut = start + int((end - start) * context)
            windows.append(Window(tuple(ids[start:cut]), tuple(ids[cut:end]), sum(sizes[cut:end])))
    if not windows:
        raise DataError(f"Some document must have at least {SHORTEST_WINDOW} tokens. Received: none that has.")
    return windows


def piece_sizes(text: str, tokenizer: sentencepiece.SentencePieceProcessor) -> list[int]:
    """Return the UTF-8 bytes that each token of a text stands for.

    They are those of the text as SentencePiece normalizes it: NFKC, runs of spaces joined, one space put in front. A
    byte piece stands for 1 byte, an unknown piece for the characters that it was found in the place of.
    """
    pieces = tokenizer.encode(text, out_type=str)  # an unknown piece comes as its characters
    return [_piece_size(piece, tokenizer) for piece in pieces]


def _piece_size(piece: str, tokenizer: sentencepiece.SentencePieceProcessor) -> int:
    if tokenizer.is_byte(tokenizer.piece_to_id(piece)):
        return 1
    return len(piece.replace(_SPACE_MARK, " ").encode("utf-8"))


def bits_per_byte(
    backbone: keras_hub.models.T5Backbone,
    tokenizer: sentencepiece.SentencePieceProcessor,
    documents: Iterable[str],
    *,
    window: int = 128,
    context: float = 0.5,
    batch_size: int = 32,
    dtype: str = "float32",
) -> BitsPerByte:
    """Measure how well a T5 foretells the second part of every window from the first and from the targets before.

    Both parts end in the end of sequence, as in pretraining, but that of the targets is no text and not counted. The
    model spreads its probability over all V rows of its table. An unknown token is counted with the bytes of its
    characters, though the model foretells only that they are unknown: the figure flatters a vocabulary that lacks many.

    Args:
      backbone: a KerasHub `T5Backbone` that is not quantized.
      tokenizer: its SentencePiece model, with 0 for padding and 1 for the end of sequence.
      documents: held-out texts.
      window: tokens of a window; the training's is the fair choice.
      context: the share of a window that goes to the encoder, in (0, 1).
      batch_size: windows that are run at once.
      dtype: what activations are computed in, "float32" or "bfloat16".

    Raises:
      BackboneError: if the tokenizer has more pieces than the backbone has rows.
      DataError: if `window` or `context` is out of range, or no document is long enough for a window.

    Example:
      >>> bits_per_byte(t5.backbone, tokenizer, read_documents("held_out.txt")).bits_per_byte
    """
    windows = cut_windows(documents, tokenizer, window=window, context=context)
    return measure_windows(backbone, tokenizer, windows, batch_size=batch_size, dtype=dtype)


def measure_windows(
    backbone: keras_hub.models.T5Backbone,
    tokenizer: sentencepiece.SentencePieceProcessor,
    windows: Sequence[Window],
    *,
    batch_size: int = 32,
    dtype: str = "float32",
) -> BitsPerByte:
    """Do the work of `bits_per_byte` on windows that are cut already.

    Raises:
      BackboneError: if the tokenizer has more pieces than the backbone has rows.
    """
    return MeasuredText(backbone, tokenizer, windows, batch_size=batch_size, dtype=dtype).measure()


class MeasuredText:
    """Windows of a held-out text that a backbone is measured on, again and again as it trains, by one graph.

    Args:
      backbone: a KerasHub `T5Backbone` that is not quantized; measured with the weights that it has at each call.
      tokenizer, windows, batch_size, dtype: as for `measure_windows`.

    Raises:
      BackboneError: if the tokenizer has more pieces than the backbone has rows.
    """

    def __init__(
        self,
        backbone: keras_hub.models.T5Backbone,
        tokenizer: sentencepiece.SentencePieceProcessor,
        windows: Sequence[Window],
        *,
        batch_size: int = 32,
        dtype: str = "float32",
    ):
        if tokenizer.get_piece_size() > backbone.vocabulary_size:
            raise BackboneError(
                f"The tokenizer must fit the backbone. Received: {tokenizer.get_piece_size()} pieces, "
                f"{backbone.vocabulary_size} rows in the embedding table."
            )
        self._num_tokens = sum(len(row.targets) for row in windows)
        self._num_bytes = sum(row.num_bytes for row in windows)
        self._windows = sorted(windows, key=lambda row: (len(row.context), len(row.targets)))  # little padding
        self._batch_size = batch_size
        target_nats = _TargetNats(FusedForward(backbone, dtype=dtype))
        self._nats_of = tf.function(target_nats, reduce_retracing=True, autograph=False)

    def measure(self) -> BitsPerByte:
        """Return how well the text is foretold now."""
        nats = 0.0
        for start in range(0, len(self._windows), self._batch_size):
            rows = self._windows[start : start + self._batch_size]
            batch = pad_batch(
                [row.context for row in rows],
                [row.targets for row in rows],
                input_multiple=_INPUT_MULTIPLE,
                target_multiple=_TARGET_MULTIPLE,
            )
            nats += float(self._nats_of({name: tf.convert_to_tensor(array) for name, array in batch.items()}))
        return BitsPerByte.of(nats, num_tokens=self._num_tokens, num_bytes=self._num_bytes)


class _TargetNats:
    """Maps a batch to the sum of its targets' cross-entropy in nats, float64, padding and end of sequence left out."""

    def __init__(self, forward: FusedForward):
        self._forward = forward

    def __call__(self, batch: Batch) -> tf.Tensor:
        mask = batch["encoder_padding_mask"]
        encoded = self._forward.encode(batch["encoder_token_ids"], mask)
        states = self._forward.decode(batch["decoder_token_ids"], encoded, mask)
        targets = tf.reshape(batch["targets"], [-1])
        text = tf.where(targets > EOS_ID)[:, 0]
        logits = self._forward.logits(tf.gather(states, text))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(targets, text), logits)
        return tf.reduce_sum(tf.cast(losses, tf.float64))
