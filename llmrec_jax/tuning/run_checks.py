"""Checks of a configuration on this machine: the mesh, the speed of the input pipeline, the memory of a step.

The memory is that of the program that XLA compiles for one CPU device. The buffers are those of the same operations on
a GPU, but fusion and kernels differ: take it as an estimate.
"""

import functools
import math
import time
from typing import Any

import jax

from llmrec_jax.config import Config, MeshConfig
from llmrec_jax.errors import UserError
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.experiment import Experiment, build
from llmrec_jax.train.step import train_step
from llmrec_jax.tuning.findings import Finding, size

GPUS = (8, 12, 16, 24, 32, 40, 48, 80, 94, 141, 192)  # GB of memory that GPUs have
MARGIN = 1.25  # for fragmentation, the runtime and what XLA does otherwise on a GPU
LOADER_SECONDS, WARMUP = 2.0, 3


def of_config(config: Config) -> list[Finding]:
    """All checks of a configuration. Its data is read and, with a frozen encoder, its texts are encoded, as for a run;
    both are kept in the cache for it.

    Raises:
      ValueError: the configuration or the data is invalid.
    """
    experiment = build(config)
    return [*mesh(config), loader(experiment), memory(experiment)]


def mesh(config: Config) -> list[Finding]:
    """The mesh that the configuration gets on the devices of this job."""
    try:
        layout = make_layout(config.mesh)
    except UserError as error:
        fix = "set --mesh.data -1, or sizes whose product is the number of devices"
        return [Finding("mesh", "problem", str(error), fix)]
    shape = {name: int(length) for name, length in layout.mesh.shape.items()}
    text = " x ".join(f"{name} {length}" for name, length in shape.items())
    batch, shards = config.train.batch_size, layout.num_row_shards
    if batch % shards:
        fix = f"set --train.batch_size to a multiple of {shards}, such as {math.ceil(batch / shards) * shards}"
        text = f"{text}: train.batch_size={batch} is not divisible by {shards}"
        return [Finding("mesh", "problem", text, fix, shape)]
    if idle := jax.device_count() - layout.mesh.size:
        return [Finding("mesh", "warning", f"{text}; {idle} devices are idle", "set --mesh.data -1", shape)]
    return [Finding("mesh", "ok", f"{text}; {batch // shards} histories of a batch on each device", None, shape)]


def loader(experiment: Experiment) -> Finding:
    """Batches a second that this machine makes: the most steps a second that a run can take."""
    iterator, config = experiment.batches(), experiment.config.train
    warmup = min(WARMUP, (config.steps - 1) // 2)
    most = max(1, config.steps - 1 - warmup)
    for _ in range(warmup):
        next(iterator)
    made, start = 0, time.perf_counter()
    while made < most and time.perf_counter() - start < LOADER_SECONDS:
        next(iterator)
        made += 1
    rate = made / max(time.perf_counter() - start, 1e-9)
    text = f"{rate:,.0f} batches/s, {rate * config.batch_size:,.0f} histories/s: an upper bound on the steps per second"
    return Finding("loader ceiling", "ok", text, None, {"batches_per_second": rate, "batches": made})


def memory(experiment: Experiment) -> Finding:
    """The memory that a training step needs on one device, and the smallest GPU that has it."""
    state = jax.eval_shape(experiment.init_state)
    layout = make_layout(MeshConfig(data=1))
    step: Any = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    compiled = step.lower(state, next(experiment.batches()), experiment.catalog).compile()
    found = compiled.memory_analysis()
    params, optimizer = _bytes(state.params), _bytes(state) - _bytes(state.params)
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    total = held + found.temp_size_in_bytes
    needed = total * MARGIN / 1e9
    fitting = next((gigabytes for gigabytes in GPUS if gigabytes >= needed), None)
    facts = {"parameters": params, "optimizer": optimizer, "catalogue_and_batch": int(held) - params - optimizer,
             "activations": int(found.temp_size_in_bytes), "total": int(total), "gpu_gigabytes": fitting}  # fmt: skip
    parts = ", ".join(f"{name.replace('_', ' ')} {size(facts[name] or 0)}" for name in list(facts)[:4])
    text = f"a step of batch size {experiment.config.train.batch_size} needs {size(total)} on one device: {parts}"
    if fitting is None:
        fix = ("set --encoder.chunk_size 128 or less, lower --train.batch_size, set --encoder.mode lora, or shard by "
               "--mesh.fsdp")  # fmt: skip
        return Finding("memory", "warning", f"{text}; more than any GPU has", fix, facts)
    return Finding("memory", "ok", f"{text}; with 25 % headroom, a GPU of {fitting} GB", None, facts)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
