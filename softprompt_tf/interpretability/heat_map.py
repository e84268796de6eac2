"""Draw a table of cosines as a heat map (matplotlib, of the `report` extra)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.local_paths import local_target

MAX_VALUES_SHOWN = 12  # prompts; with more, numbers would not be readable in their cells


def draw_heat_map(names: Sequence[str], values: np.ndarray, *, title: str = "", ink: str = "black") -> Any:
    """Return a matplotlib figure of the table.

    Args:
      names: K names, of rows and columns.
      values: [K, K] cosines in [-1, 1]; 0 to 1 is shown in cividis, which reads the same for all kinds of colour vision,
        and the scale begins below 0 where a value does.
      title: above the picture.
      ink: the colour of texts and lines outside the cells.

    Raises:
      ConfigError: if matplotlib is not installed.
      DataError: if the table does not fit the names.
    """
    count = len(names)
    if np.shape(values) != (count, count) or not count:
        raise DataError(
            f"A heat map must have a row and a column per name. Received: {count} names, {np.shape(values)}."
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("Plots need matplotlib: pip install 'softprompt-tf[report]'.") from error
    side = 2.6 + 0.5 * count
    figure = Figure(figsize=(side, side * 0.86), layout="constrained")
    axes = figure.add_subplot()
    low = min(0.0, float(np.min(values)))
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=1.0)
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", color=ink)
    axes.set_yticks(range(count), names, color=ink)
    axes.tick_params(color=ink)
    axes.spines[:].set_color(ink)
    if title:
        axes.set_title(title, color=ink, fontsize=10)
    bar = figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    bar.ax.tick_params(color=ink, labelcolor=ink)
    bar.ax.yaxis.label.set_color(ink)
    if count <= MAX_VALUES_SHOWN:
        for (row, column), value in np.ndenumerate(values):
            shade = (value - low) / (1.0 - low)
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="black" if shade > 0.55 else "white")
    return figure


def write_heat_map(path: Path, names: Sequence[str], values: np.ndarray, *, title: str = "") -> Path:
    """Write the picture; the ending of the name, .png or .svg, says the format.

    Raises:
      DataError: if the path is remote, the table does not fit the names, or the file cannot be written.
    """
    path = local_target(path, error_type=DataError)
    picture = io.BytesIO()
    draw_heat_map(names, values, title=title).savefig(
        picture, format=path.suffix.removeprefix(".") or "png", dpi=150, facecolor="white"
    )
    return write_atomically(path, picture.getvalue(), error_type=DataError)
