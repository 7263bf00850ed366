"""Data-sheet rates of TPU chips, and a roofline estimate of a step's time from them. Nothing here is measured.

Memory, peak and memory bandwidth: cloud.google.com/tpu/docs, pages v5e, v5p, v6e (per chip; read in November 2026).
Interconnect: "How to Scale Your Model" (jax-ml.github.io/scaling-book/tpus), both directions of one axis of the torus;
a collective over several axes may use them all, so this errs on the slow side.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

# Share of the peak that the matrix products of a step are taken to reach. MaxText reports 0.61 to 0.67 for models of 16
# and 32 billion parameters on v5e, and JAX runs of GPT-2 size on v6e reach 0.14 to 0.25: small models are well below.
ASSUMED_MFU = 0.4


class Chip(NamedTuple):
    """Per chip; bytes, bfloat16 FLOPs, seconds."""

    memory: float
    peak_flops: float
    memory_bandwidth: float
    ici_bandwidth: float


CHIPS = {
    "v5e": Chip(16e9, 197e12, 819e9, 90e9),
    "v5p": Chip(95e9, 459e12, 2765e9, 180e9),
    "v6e": Chip(32e9, 918e12, 1638e9, 180e9),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as "v5e:4x4". Raises ValueError where it is none of the table."""
    name = topology.partition(":")[0]
    if name not in CHIPS:
        raise ValueError(f"{topology}: the chip must be one of {', '.join(CHIPS)}, as in v5e:4x4")
    return CHIPS[name]


class Seconds(NamedTuple):
    """Estimated seconds of a step on each resource."""

    compute: float
    memory: float
    ici: float

    @property
    def step(self) -> float:
        """Products and memory overlap; collectives are taken not to, though the compiler hides some behind products."""
        return max(self.compute, self.memory) + self.ici


def estimate(row: Mapping[str, Any]) -> Seconds:
    """A step's time by the roofline of its chip, from a row of `compile_for`."""
    chip = chip_of(row["topology"])
    return Seconds(
        compute=row["flops_per_chip"] / (chip.peak_flops * ASSUMED_MFU),
        memory=row["memory_traffic_bytes_per_chip"] / chip.memory_bandwidth,
        ici=row["ici_traffic_bytes_per_chip"] / chip.ici_bandwidth,
    )
