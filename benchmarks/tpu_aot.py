"""The training step, compiled for TPU pods by TPU's own compiler, on a CPU.

    python benchmarks/tpu_aot.py [--config CONFIG.py] [--topology v5e:16x16 ...] [--texts N] [--items N] [--json]

Needs the `[aot]` extra, no TPU and no data: the step of the configuration is traced on abstract arrays. Says what a
chip must hold and compute and what travels between chips: that the step compiles and fits, nothing of its speed.
"""

import argparse
import collections
import dataclasses
import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU host to ask

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh
from rich.console import Console
from rich.table import Table

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.evaluate.report import versions
from llmrec_jax.models.architectures import ENCODERS
from llmrec_jax.models.recommender import Sizes, Task
from llmrec_jax.parallel import AXES, Jit
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.state import new_state
from llmrec_jax.train.step import train_step
from llmrec_jax.types import Batch, Catalog, Items, Predictions

BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "s8": 1, "u8": 1, "f16": 2}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def abstract(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """An array that only has a shape."""
    return jax.ShapeDtypeStruct(shape, dtype)


def abstract_batch(config: Config, texts: int) -> Batch:
    """A batch of the configuration's rows with `texts` distinct items and equally many predictions a domain."""
    rows, steps, domains = config.train.batch_size, config.data.max_history, len(config.data.sources) + 1
    per_domain = rows * steps // domains // rows * rows
    ints, flags = (lambda *shape: abstract(shape, jnp.int32)), (lambda *shape: abstract(shape, jnp.bool_))
    predictions = Predictions(ints(per_domain), ints(per_domain), flags(per_domain))
    return Batch(
        items=(Items(ints(texts), flags(texts)),),
        history_BS=ints(rows, steps),
        history_mask_BS=flags(rows, steps),
        domain_B=ints(rows),
        predictions=(predictions,) * domains,
    )


def compile_for(config: Config, topology: str, texts: int, num_items: int) -> dict[str, Any]:
    """Compile the step for `topology` (such as "v5e:16x16") and read what the compiler says of it."""
    devices = np.array(topologies.get_topology_desc(topology, platform="tpu").devices)
    fsdp, tensor = config.mesh.fsdp, config.mesh.tensor
    data = config.mesh.data if config.mesh.data > 0 else devices.size // (fsdp * tensor)
    layout = Jit(Mesh(devices.reshape(data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3))

    encoder_config = ENCODERS[config.encoder.kind].config(
        width=config.encoder.width,
        num_layers=config.encoder.num_layers,
        num_heads=config.encoder.num_heads,
        remat=config.encoder.remat,
        dtype=jnp.dtype(config.model.compute_dtype),
    )
    sizes = Sizes(num_items, encoder_config.width, config.data.max_history, config.encoder.pooling)
    domains = len(config.data.sources) + 1
    starts = tuple(num_items * domain // domains for domain in range(domains + 1))
    task = Task((config.data.max_tokens,), starts, whole_catalogue=False)

    def init(key: jax.Array) -> Any:
        return nnx.to_pure_dict(nnx.state(experiment_lib.make_model(config, sizes, encoder_config, nnx.Rngs(key))))

    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: experiment_lib.make_model(config, sizes, encoder_config, nnx.Rngs(0)))
    )
    recipe = experiment_lib.make_recipe(config, graphdef, task)
    state = jax.eval_shape(lambda: new_state(init, recipe.tx, config.seed))
    tokens = (num_items, config.data.max_tokens)
    per_item = (abstract((num_items,), jnp.int32), abstract((num_items,), jnp.float32))
    catalog = Catalog(abstract(tokens, jnp.int32), abstract(tokens, jnp.bool_), None, *per_item)
    step: Any = layout.compile(lambda *args, shards: train_step(*args, recipe=recipe, shards=shards), state)

    start = time.perf_counter()
    traced = step.trace(state, abstract_batch(config, texts), catalog)
    compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    seconds = time.perf_counter() - start
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    arguments = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "config": config.encoder.kind,
        "topology": topology,
        "chips": int(devices.size),
        "mesh": f"{data} x {fsdp} x {tensor}",
        "hbm_bytes_per_chip": int(arguments + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes),
        "state_and_inputs_bytes_per_chip": int(arguments),
        "temporary_bytes_per_chip": int(memory.temp_size_in_bytes),
        "flops_per_chip": matmul_flops(traced.jaxpr.jaxpr) / devices.size,
        "bytes_accessed_per_chip_loops_once": float(cost.get("bytes accessed", math.nan)),
        "compile_seconds": seconds,
        "tokens_per_step": texts * config.data.max_tokens,
        "collectives": collectives(compiled.as_text()),
    }


def matmul_flops(jaxpr: Any) -> float:
    """FLOPs of all matrix products of a program, recomputation included; a scan counts as often as it runs.

    XLA's own cost analysis counts the body of a loop, here a layer of the encoder, only once.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[dim] for dim in contracted)
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += times * sum(matmul_flops(inner) for inner in _inner(equation.params))
    return total


def _inner(params: dict[str, Any]) -> list[Any]:
    """The programs that an equation calls."""
    values = [value for param in params.values() for value in (param if isinstance(param, tuple) else (param,))]
    return [getattr(value, "jaxpr", value) for value in values if hasattr(value, "eqns") or hasattr(value, "jaxpr")]


def collectives(hlo: str) -> dict[str, dict[str, int]]:
    """Collective operations of a compiled program: how many of each kind, and the bytes of their results.

    One inside a loop over layers is counted once, as it stands in the program.
    """
    found: dict[str, dict[str, int]] = collections.defaultdict(lambda: {"count": 0, "bytes": 0})
    for kind in COLLECTIVES:
        for shape in re.findall(rf"= (.*?) {kind}(?:-start)?\(", hlo):
            found[kind]["count"] += 1
            for dtype, dims in re.findall(r"(\w+)\[([\d,]*)\]", shape):
                size = math.prod(int(dim) for dim in dims.split(",") if dim)
                found[kind]["bytes"] += size * BYTES.get(dtype, 4)
    return dict(found)


def main() -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/tpu_pod_gpt2.py"))
    parser.add_argument("--topology", nargs="+", default=["v5e:4x4", "v5e:8x8", "v5e:16x16"])
    parser.add_argument("--texts", type=int, default=8192, help="distinct items encoded by a step")
    parser.add_argument("--items", type=int, default=1_000_000, help="items of the catalogue")
    parser.add_argument("--fsdp", type=int, help="override mesh.fsdp")
    parser.add_argument("--tensor", type=int, help="override mesh.tensor")
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or a document of rows for several")
    args = parser.parse_args()
    config = config_lib.load(args.config)
    mesh = dataclasses.replace(
        config.mesh, fsdp=args.fsdp or config.mesh.fsdp, tensor=args.tensor or config.mesh.tensor
    )
    config = dataclasses.replace(config, mesh=mesh)
    rows = [compile_for(config, topology, args.texts, args.items) for topology in args.topology]
    if args.json:
        print(json.dumps(rows[0] if len(rows) == 1 else {"rows": rows, "versions": versions()}))
        return
    table = Table(title=f"{args.config}, {args.texts:,} texts a step, {args.items:,} items", title_justify="left")
    for name in ("topology", "mesh", "GB a chip", "of it temporary", "TFLOP a chip", "compile s", "collectives"):
        table.add_column(name, justify="right")
    for row in rows:
        kinds = ", ".join(f"{c['count']} {kind} {c['bytes'] / 1e6:.0f} MB" for kind, c in row["collectives"].items())
        gigabytes = (row["hbm_bytes_per_chip"] / 1e9, row["temporary_bytes_per_chip"] / 1e9)
        numbers = (*gigabytes, row["flops_per_chip"] / 1e12, row["compile_seconds"])
        table.add_row(row["topology"], row["mesh"], *(f"{number:.2f}" for number in numbers), kinds)
    Console().print(table)


if __name__ == "__main__":
    main()
