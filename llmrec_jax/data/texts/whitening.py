"""Text vectors of a catalogue: centred, half-whitened, L2-normalized.

Text vectors of a language model have a large common mean and a few dominant directions, which determine most of their
cosine similarities. Half-whitening scales the principal components by eigenvalue^-1/4, halfway between no scaling and
whitening (eigenvalue^-1/2, equal variance). It was a safe choice on every domain measured.
"""

from typing import NamedTuple

import numpy as np


class Whitening(NamedTuple):
    """An affine map of text vectors, fitted on a catalogue; saved with the model to transform new items."""

    mean_F: np.ndarray
    transform_FF: np.ndarray

    def __call__(self, features_NF: np.ndarray) -> np.ndarray:
        """Transform vectors [N, F] and L2-normalize them, float32."""
        return l2_normalize((features_NF - self.mean_F) @ self.transform_FF)


def half_whitening(features_IF: np.ndarray) -> Whitening:
    """Fit to a catalogue: subtract its mean, scale its principal components by eigenvalue^-1/4, the largest last."""
    mean_F = features_IF.mean(axis=0, dtype=np.float64)
    centred_IF = features_IF - mean_F
    values_F, vectors_FF = np.linalg.eigh(centred_IF.T @ centred_IF / len(features_IF))
    scale_F = np.where(values_F > 1e-6 * values_F[-1], np.maximum(values_F, 1e-30), np.inf) ** -0.25
    return Whitening(mean_F.astype(np.float32), (vectors_FF * scale_F).astype(np.float32))


def l2_normalize(x_NF: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, float32; zero rows stay zero."""
    norm_N1 = np.linalg.norm(x_NF, axis=1, keepdims=True)
    return (x_NF / np.where(norm_N1 > 0, norm_N1, 1.0)).astype(np.float32)
