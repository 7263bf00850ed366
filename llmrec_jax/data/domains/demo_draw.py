"""Sampling for the built-in shops, from `random.Random.random` alone: Python guarantees only that its sequence never
changes.
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def pick(rng: Random, pool: Sequence[T]) -> T:
    """One value of the pool, all equally likely."""
    return pool[int(rng.random() * len(pool))]


def sample(rng: Random, pool: Sequence[T], count: int) -> list[T]:
    """Different places of the pool."""
    left = list(pool)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]


def weighted(rng: Random, weights: Sequence[tuple[T, int]]) -> T:
    """A value with probability proportional to its integer weight."""
    draw = rng.random() * sum(weight for _, weight in weights)
    for value, weight in weights:
        draw -= weight
        if draw < 0:
            return value
    return weights[-1][0]
