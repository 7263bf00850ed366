"""Searches layout, rematerialisation and batch size that fit a chip, by compiling the step for each.

Whether a choice fits is the compiler's answer; the order among those that fit is a roofline estimate (`chips`).
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from benchmarks.aot.chips import chip_of, estimate
from benchmarks.aot.compile import LAYOUTS, OutOfMemory, with_layout
from llmrec_jax.config import Config

REMATS = ("none", "dots", "full")  # from the fastest to the one that needs least memory
MARGIN = 0.1  # share of the memory to leave free


class Choice(NamedTuple):
    """What the planner may set."""

    layout: str
    remat: Any
    doublings: int  # of the batch

    def apply(self, config: Config) -> Config:
        """The configuration with this choice."""
        config = with_layout(config, *LAYOUTS[self.layout])
        train = dataclasses.replace(config.train, batch_size=config.train.batch_size << self.doublings)
        return dataclasses.replace(config, train=train, encoder=dataclasses.replace(config.encoder, remat=self.remat))

    def flags(self, config: Config) -> str:
        """The same for the command line of `train.py`."""
        mesh, train, encoder = (chosen := self.apply(config)).mesh, chosen.train, chosen.encoder
        return (
            f"--train.batch_size {train.batch_size} --mesh.data {mesh.data} --mesh.fsdp {mesh.fsdp} "
            f"--mesh.tensor {mesh.tensor} --encoder.remat {encoder.remat}"
        )


class Tried(NamedTuple):
    """One compilation; `row` is None where the compiler refused."""

    choice: Choice
    row: dict[str, Any] | None
    fits: bool


def search(
    compile_choice: Callable[[Choice], dict[str, Any]], layouts: Iterable[str], num_doublings: int
) -> list[Tried]:
    """Try each layout with ever larger batches, each with as little recomputation as fits.

    More texts need more memory: what did not fit once is not tried with a larger batch. Recomputing costs time: where
    less of it fits, more is not tried.
    """
    tried = []
    for layout in layouts:
        remats = list(REMATS)
        for doublings in range(num_doublings + 1):
            while remats:
                tried.append(_try(compile_choice, Choice(layout, remats[0], doublings)))
                if tried[-1].fits:
                    break
                del remats[0]
    return tried


def _try(compile_choice: Callable[[Choice], dict[str, Any]], choice: Choice) -> Tried:
    try:
        row = compile_choice(choice)
    except OutOfMemory:
        return Tried(choice, None, fits=False)
    return Tried(choice, row, row["hbm_bytes_per_chip"] <= (1 - MARGIN) * chip_of(row["topology"]).memory)


def ranked(tried: Iterable[Tried]) -> list[Tried]:
    """What fits, the least estimated time per token first. Raises ValueError where nothing does."""
    fitting = [one for one in tried if one.fits and one.row is not None]
    if not fitting:
        raise ValueError("no layout fits at this batch: lower --texts together with train.batch_size, or add chips")
    return sorted(fitting, key=lambda one: estimate(one.row).step / one.row["tokens_per_step"] if one.row else 0.0)
