"""The items in two dimensions: the first two principal components of their vectors.

Shape letters: those of `types`.
"""

import numpy as np


def planar(vectors_ID: np.ndarray) -> np.ndarray:
    """The first two principal components, float32 [I, 2]; the largest value of each, by magnitude, is positive."""
    centred_ID = vectors_ID - vectors_ID.mean(axis=0, keepdims=True) if len(vectors_ID) else vectors_ID
    _, vectors_DD = np.linalg.eigh((centred_ID.T @ centred_ID).astype(np.float64))
    axes_D2 = vectors_DD[:, ::-1][:, :2]
    xy_I2 = np.zeros((len(vectors_ID), 2), np.float32)
    xy_I2[:, : axes_D2.shape[1]] = centred_ID @ axes_D2
    largest = np.take_along_axis(xy_I2, np.abs(xy_I2).argmax(axis=0)[None], axis=0) if len(xy_I2) else np.ones((1, 2))
    return xy_I2 * np.where(largest < 0, -1, 1).astype(np.float32)
