"""Item vectors as int8: a scale per row, rounded to the nearest of 255 values.

Shape letters: I items, D width of the vectors.
"""

import numpy as np


def quantized(name: str, table_ID: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays `name`, int8 [I, D], and `name.scale`, float32 [I]: a row is its int8 values times its scale."""
    largest_I = np.abs(table_ID).max(axis=1, initial=0)
    scale_I = (np.where(largest_I > 0, largest_I, 1) / 127).astype(np.float32)
    return {name: np.rint(table_ID / scale_I[:, None]).astype(np.int8), f"{name}.scale": scale_I}
