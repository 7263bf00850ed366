"""Counts of compilations, FLOPs, collectives and memory of standard steps: `python benchmarks/counts.py [--write]`.

Unlike times, counts are exact and repeatable. On eight fake CPU devices:

    compiles               programs compiled for the first batches
    matmul_flops           matrix products of the traced step, on all devices
    compiled_matmul_flops  matrix products of the compiled step on one device, recomputation included
    collectives, collective_bytes, temporary_bytes   of the compiled step, on one device

The accepted counts are in `counts.json`, by JAX version; a test fails where one grows. After a change that is meant to
cost more, or with another JAX version, `--write` accepts the new counts.
"""

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

if __name__ == "__main__":
    import tests.conftest  # noqa: F401 -- sets the flags under which the test counts

import jax
from rich.console import Console
from rich.table import Table

from benchmarks.aot import program
from benchmarks.report import host_line
from llmrec_jax import config as config_lib
from llmrec_jax.config import Config, MeshConfig, ModelConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import Layout, make_layout, state_shardings
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.state import TrainState
from llmrec_jax.train.step import train_step

REPO = Path(__file__).resolve().parents[1]
ACCEPTED = REPO / "benchmarks" / "counts.json"
FIRST_BATCHES = 20  # of which the compilations are counted

Counts = dict[str, dict[str, float]]  # of each standard step


def standard_steps(cache_dir: str) -> dict[str, Config]:
    """The quickstart's step in every layout and with a GPT-2 in bfloat16, and one that ranks all items by their ids."""
    base = config_lib.load(REPO / "configs" / "quickstart.py")
    base = dataclasses.replace(base, data=dataclasses.replace(base.data, cache_dir=cache_dir))
    ids = dataclasses.replace(
        base,
        model=ModelConfig(item_features="id"),
        loss=dataclasses.replace(base.loss, ranking="softmax"),
        data=dataclasses.replace(base.data, target_fraction=1.0, unlabelled_items=0),
    )
    gpt2 = dataclasses.replace(
        base,
        encoder=dataclasses.replace(base.encoder, kind="gpt2", num_layers=2),
        model=dataclasses.replace(base.model, compute_dtype="bfloat16"),
    )
    meshes = {
        "1 device": MeshConfig(data=1),
        "data 8": MeshConfig(data=8),
        "data 2 x fsdp 2 x tensor 2": MeshConfig(data=2, fsdp=2, tensor=2),
    }
    steps = {f"quickstart, {name}": dataclasses.replace(base, mesh=mesh) for name, mesh in meshes.items()}
    steps["GPT-2 in bfloat16, 1 device"] = dataclasses.replace(gpt2, mesh=meshes["1 device"])
    return steps | {
        f"ids and softmax, {name}": dataclasses.replace(ids, mesh=meshes[name]) for name in ("1 device", "data 8")
    }


def count(config: Config) -> dict[str, float]:
    """Compile the step of a configuration for its first batch and count."""
    experiment, layout = experiment_lib.build(config), make_layout(config.mesh)
    state = _initial_state(experiment, layout)
    step: Any = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    programs = []
    for number in range(FIRST_BATCHES):
        programs.append(step.trace(state, make_batch(experiment.corpus.plan, number), experiment.catalog))
        state, _ = programs[-1].out_info
    compiled = programs[0].lower().compile()
    operations = program.operations(compiled.as_text())
    collectives = program.collectives(operations)
    return {
        "compiles": len({id(traced.jaxpr) for traced in programs}),  # what jit has traced once it takes from its cache
        "matmul_flops": program.matmul_flops(programs[0].jaxpr.jaxpr),
        "compiled_matmul_flops": program.compiled_matmul_flops(operations),
        "collectives": sum(kind["count"] for kind in collectives.values()),
        "collective_bytes": sum(kind["bytes"] for kind in collectives.values()),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }


def _initial_state(experiment: Experiment, layout: Layout) -> TrainState:
    """The state as `Jit.init` lays it out, in the abstract."""
    state = jax.eval_shape(experiment.init_state)
    shardings = state_shardings(state, layout.mesh)
    return jax.tree.map(lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state, shardings)


def growth(counts: Counts, accepted: Counts, tolerance: float = 0.02) -> list[str]:
    """What has grown beyond the tolerance, a line each; a step or a count that was not accepted yet is one."""
    lines = []
    for step, values in counts.items():
        for name, value in values.items():
            before = accepted.get(step, {}).get(name)
            if before is None or value > before * (1 + tolerance):
                lines.append(f"{step}: {name} {before} -> {value}")
    return lines


def main() -> None:
    """Print the counts beside the accepted ones, or accept them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="accept these counts for this version of JAX")
    args = parser.parse_args()
    everything: dict[str, Counts] = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    accepted = everything.get(jax.__version__, {})
    counts = {name: count(config) for name, config in standard_steps(".cache/llmrec_jax").items()}
    table = Table("step", "count", "accepted", "now", title=f"JAX {jax.__version__}")
    for step, values in counts.items():
        for name, value in values.items():
            table.add_row(step, name, f"{accepted.get(step, {}).get(name, float('nan')):,.0f}", f"{value:,.0f}")
    Console().print(table)
    print(host_line())
    if args.write:
        ACCEPTED.write_text(json.dumps(everything | {jax.__version__: counts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
