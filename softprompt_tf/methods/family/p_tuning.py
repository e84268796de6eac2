"""P-tuning: a network makes the rows of a prompt from trained embeddings, each with a view of its neighbours.

Source: Liu et al. 2021, arXiv:2103.10385.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import (
    dense,
    dense_shapes,
    draw_dense,
    draw_lstm,
    draw_normal,
    lstm,
    lstm_shapes,
)
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER
from softprompt_tf.settings.spelling import nearest

ROWS = "rows"
NETWORKS = ("lstm", "mlp")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PTuning(PromptMethod):
    """P-tuning with its settings; see `p_tuning`.

    Args:
      network: one of `NETWORKS`.
      network_dim: M, the width of the network; None until the backbone is known.
      lstm_layers: of the LSTM.
      length, task_ids, seed: as in `PromptMethod`.
    """

    network: str
    network_dim: int | None
    lstm_layers: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network not in NETWORKS:
            raise PromptError(
                f"`network` must be one of {', '.join(NETWORKS)}. Received: network={self.network!r}."
                f"{nearest(str(self.network), NETWORKS)}"
            )
        if self.network_dim is not None:
            check_integer("network_dim", self.network_dim, minimum=1)
        check_integer("lstm_layers", self.lstm_layers, minimum=1)

    @property
    def name(self) -> str:
        return "p_tuning"

    def settings(self) -> dict[str, Any]:
        names = ("length", "network", "network_dim", "lstm_layers")
        return {name: getattr(self, name) for name in names}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        shapes: Shapes = {ROWS: (self.length, sizes.hidden_dim)}
        for layer in self._layers(sizes):
            shapes |= layer
        return shapes

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        values = {ROWS: draw_normal(generator, (self.length, sizes.hidden_dim))}
        for layer in self._layers(sizes):
            is_lstm = any(name.endswith(".recurrent_kernel") for name in layer)
            values |= (draw_lstm if is_lstm else draw_dense)(generator, layer)
        return values

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Run the network on the rows [K, P, H]."""
        from keras import ops

        values = variables[ROWS]
        if self.network == "mlp":
            values = ops.relu(dense(variables, "first", values))
        else:
            values = self._read(variables, values)
        return {PROMPT: dense(variables, "output", ops.relu(dense(variables, "hidden", values)))}

    def _read(self, variables: Mapping[str, Any], values: Any) -> Any:
        """Run the layers of the LSTM, each in both directions: [K, P, H] to [K, P, 2 * M]."""
        from keras import ops

        for layer in range(self.lstm_layers):
            both = (
                lstm(variables, f"lstm_{layer}.forward", values),
                lstm(variables, f"lstm_{layer}.backward", values, is_reversed=True),
            )
            values = ops.concatenate(both, axis=-1)
        return values

    def _layers(self, sizes: BackboneSizes) -> Iterator[Shapes]:
        """Yield the shapes of each layer of the network, the first one first."""
        hidden_dim = sizes.hidden_dim
        if self.network == "mlp":
            width = self.network_dim or hidden_dim
            yield dense_shapes("first", hidden_dim, width)
        else:
            each = self.network_dim or max(1, hidden_dim // 2)
            width = 2 * each
            for layer in range(self.lstm_layers):
                for direction in ("forward", "backward"):
                    yield lstm_shapes(f"lstm_{layer}.{direction}", width if layer else hidden_dim, each)
        yield dense_shapes("hidden", width, width)
        yield dense_shapes("output", width, hidden_dim)


def p_tuning(
    length: int = 20,
    *,
    network: str = "lstm",
    network_dim: int | None = None,
    lstm_layers: int = 2,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> PTuning:
    """P-tuning: a task's prompt [P, H], which an LSTM or an MLP makes from P trained embeddings.

    The network is trained with the embeddings, and a saved task has the rows that it made.

    Args:
      length: P, rows of a prompt. The paper's templates have up to about 10.
      network: "lstm", two bidirectional layers and an MLP behind them, as in the paper; or "mlp", three layers, as in PEFT.
      network_dim: M, the width of the LSTM in one direction, or of the MLP. Default: H / 2 for the LSTM, as in the paper's
        code, and H for the MLP.
      lstm_layers: layers of the LSTM.
      task_ids: names of the tasks where one model trains several, each with a network of its own. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.p_tuning(length=10, network="mlp")
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Liu et al. 2021, arXiv:2103.10385, section 3; THUDM/P-tuning (LSTM) and huggingface/peft (MLP) for the forms.
    """
    return PTuning(
        length=length,
        network=network,
        network_dim=network_dim,
        lstm_layers=lstm_layers,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class PTuningConfig(LengthConfig, PromptPosition, PromptSight):
    """P-tuning: its length P, and the network that makes its rows."""

    method: Literal["p_tuning"] = Field(default="p_tuning", description="the name of a prompt method")
    network: Literal["lstm", "mlp"] = Field(default="lstm", description="lstm or mlp")
    network_dim: int | None = Field(
        default=None, gt=0, description=f"{WHOLE_NUMBER} (width of the network), or null for one that follows the T5's"
    )
    lstm_layers: int = Field(default=2, gt=0, description=f"{WHOLE_NUMBER} (layers of the LSTM)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> PTuning:
        return p_tuning(
            **self.model_dump(exclude={"method", "position"}),
            position=self.position_for(tasks),
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
