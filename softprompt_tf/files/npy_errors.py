"""What NumPy raises for a damaged .npy file."""

import tokenize

# NumPy parses the header as a Python literal, so a damaged one fails as Python text does, and one that is nested too deep as such.
NPY_ERRORS = (
    ValueError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
)
