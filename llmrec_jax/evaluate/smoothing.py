"""The moving average that curves of training are drawn with."""

import numpy as np

SMOOTHING = 0.1  # weight of a step


def smooth(points_N2: np.ndarray) -> np.ndarray:
    """Moving average of the values of points (step, value), unless there are a few only."""
    if len(points_N2) < 1 / SMOOTHING:
        return points_N2
    mean, means = points_N2[0, 1], []
    for value in points_N2[:, 1]:
        mean += SMOOTHING * (value - mean)
        means.append(mean)
    return np.stack([points_N2[:, 0], means], axis=1)
