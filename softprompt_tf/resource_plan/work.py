"""What one training step or one request does, as numbers: rows, lengths, and which layers keep something for a gradient.

The rules are those of `softprompt_tf.backbones.passes.cheaper_passes` and `encoder_rows`.
"""

from dataclasses import dataclass, replace

from softprompt_tf.backbones.passes.absorbed_attention import is_cheaper
from softprompt_tf.resource_plan.backbone_form import BackboneForm
from softprompt_tf.resource_plan.injected import Injected, changed_projections


@dataclass(frozen=True, kw_only=True)
class Work:
    """One batch on a backbone.

    Args:
      form: the T5.
      injected: what a task brings.
      rows: B.
      input_tokens: T, of the longest text, what goes in front not counted.
      target_tokens: U.
      compute_bytes: of a value in the compute dtype, 4 or 2.
      recompute: whether each layer's input alone is kept.
      cached_states: whether the layers below the task's entry do not run.
      quantization: None, "int8" or "int4" of the projections.
    """

    form: BackboneForm
    injected: Injected
    rows: int
    input_tokens: int
    target_tokens: int
    compute_bytes: int = 4
    recompute: bool = False
    cached_states: bool = False
    quantization: str | None = None

    @property
    def is_fused(self) -> bool:
        """Whether the fused pass trains; else the layers are called themselves."""
        return self.quantization is None

    def with_rows(self, rows: int) -> "Work":
        """Return the same work on another number of rows."""
        return replace(self, rows=rows)

    # === The encoder ===

    @property
    def first_run(self) -> int:
        """The first encoder layer that runs."""
        entry = self.injected.entry
        if not self.cached_states:
            return 0
        return self.form.sizes.encoder_layers if entry is None else entry

    @property
    def first_kept(self) -> int:
        """The first encoder layer that keeps something for a gradient."""
        if self.injected.front or self.injected.moves_encoder or self.injected.moves_all_embeddings:
            return 0
        return min(self.injected.late, default=self.form.sizes.encoder_layers)

    def positions(self, layer: int) -> int:
        """Return the positions of a row at an encoder layer: the text and what stands in front of it."""
        widest = max([self.injected.front, *(rows for at, rows in self.injected.late.items() if at <= layer)])
        return self.input_tokens + widest

    @property
    def source(self) -> int:
        """S, the positions that the decoder attends to."""
        return self.positions(self.form.sizes.encoder_layers - 1) + self.injected.behind

    @property
    def moving_rows(self) -> int | None:
        """Rows in front of the layer `first_kept`, where that layer is spared the gradient of the others; None: it is not."""
        injected = self.injected
        is_whole = injected.moves_all_embeddings or injected.key_values["encoder"] > 0
        if is_whole or changed_projections(injected.kinds("encoder")) or not self.is_fused:
            return None
        return injected.front or injected.late.get(self.first_kept)

    # === The decoder ===

    @property
    def queries(self) -> int:
        """U, the positions of the decoder; a method with label rows looks at one more than the first."""
        return 2 if self.injected.num_labels else self.target_tokens

    @property
    def is_absorbed(self) -> bool:
        """Whether the attention to the encoder output uses it as it is, without keys and values."""
        if self.injected.moves_cross_keys or not self.is_fused:
            return False
        sizes = self.form.sizes
        return bool(is_cheaper(self.queries, self.source, sizes.hidden_dim, sizes.head_dim))

    @property
    def moving_source(self) -> int:
        """Positions of the encoder output that have a gradient."""
        return self.injected.behind if self.first_kept >= self.form.sizes.encoder_layers else self.source

    @property
    def moves_first_decoder_layer(self) -> bool:
        """Whether something moves the states of the decoder's first layer before it attends to the encoder output."""
        has_changes = bool(changed_projections(self.injected.kinds("decoder")))
        return self.injected.key_values["decoder"] > 0 or has_changes
