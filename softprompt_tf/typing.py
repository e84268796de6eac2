"""Names for types that Keras and TensorFlow do not type."""

from typing import Any

# A backend tensor, a Keras symbolic tensor or a NumPy array; the docstring at each place gives shape and dtype.
Tensor = Any
