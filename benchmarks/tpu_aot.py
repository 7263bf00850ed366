"""Compiles the training step for TPU pods with the TPU compiler, on a CPU.

    python benchmarks/tpu_aot.py [--config CONFIG.py] [--topology v5e:16x16 ...] [--layout dp fsdp mixed] [--json]
    python benchmarks/tpu_aot.py --attention flash --tokens 512 --texts 1024 --topology v5e:8x8
    python benchmarks/tpu_aot.py --plan --topology v5e:4x4 [--config CONFIG.py] [--doublings N]

Needs the `[aot]` extra, but neither a TPU nor data. Gives memory, FLOPs and communication per chip: whether the step
compiles and fits, not how fast it is. `--plan` searches batch size, rematerialisation and layout by such compilations;
its times are roofline estimates from the chip's data sheet.
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU host to ask
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock is for programs that run on one
sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

from rich.console import Console
from rich.table import Table

from benchmarks.aot import plan
from benchmarks.aot.chips import ASSUMED_MFU, chip_of, estimate
from benchmarks.aot.compile import LAYOUTS, check, compile_for, with_layout
from benchmarks.report import host, host_line
from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.evaluate.report import versions
from llmrec_jax.models.attention import Kernel


def main() -> None:
    """Compile what is asked for; print a table or JSON."""
    args = parse()
    console = Console(stderr=args.json, width=None if sys.stdout.isatty() else 200)
    try:
        configs = {path: load(path, args) for path in args.config}
    except ValueError as error:
        print(f"tpu_aot.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    rows = []
    for (path, config), topology in itertools.product(configs.items(), args.topology):
        if args.plan:
            rows += print_plan(path, config, topology, args, console)
            continue
        for laid_out in layouts(config, args):
            rows.append(named(compile_for(laid_out, topology, args.texts, args.items)))
            console.print(f"{path.stem} {topology}: compiled in {rows[-1]['compile_seconds']:.0f} s", style="dim")
    if args.json:
        facts = {"host": host(), "versions": versions()}
        print(json.dumps({**rows[0], **facts} if len(rows) == 1 else {"rows": rows, **facts}))
    elif not args.plan:
        console.print(table_of(rows, f"{args.texts:,} texts a step, {args.items:,} items"))
        console.print(host_line())  # compile time is this machine's


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("configs/tpu_pod_gpt2.py")])
    parser.add_argument("--topology", nargs="+", default=["v5e:4x4", "v5e:8x8", "v5e:16x16"])
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, help="(fsdp, tensor): " + str(LAYOUTS))
    parser.add_argument("--fsdp", type=int, help="override mesh.fsdp")
    parser.add_argument("--tensor", type=int, help="override mesh.tensor")
    parser.add_argument("--attention", choices=get_args(Kernel), help="override encoder.attention")
    parser.add_argument("--tokens", type=int, help="override data.max_tokens: the length of every text")
    parser.add_argument("--texts", type=int, default=8192, help="distinct items encoded by a step")
    parser.add_argument("--items", type=int, default=1_000_000, help="items of the catalogue")
    parser.add_argument("--plan", action="store_true", help="pick layout, recomputation and batch")
    parser.add_argument("--doublings", type=int, default=2, help="of --plan: how often to double the batch")
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or a document of rows for several")
    args = parser.parse_args(arguments)
    if args.layout and (args.fsdp or args.tensor):
        parser.error("--layout sets mesh.fsdp and mesh.tensor: leave --fsdp and --tensor out")
    for topology in args.topology:
        try:
            chip_of(topology)
        except ValueError as error:
            parser.error(str(error))
    return args


def load(path: Path, args: argparse.Namespace) -> Config:
    """What to compile for a configuration file. Raises ValueError with the file's name where nothing can be."""
    config = with_kernel(config_lib.load(path), args)
    try:
        check(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def with_kernel(config: Config, args: argparse.Namespace) -> Config:
    """The configuration with another kernel for attention and texts of another length, where asked for."""
    data = dataclasses.replace(config.data, max_tokens=args.tokens or config.data.max_tokens)
    encoder = dataclasses.replace(config.encoder, attention=args.attention or config.encoder.attention)
    return dataclasses.replace(config, data=data, encoder=encoder)


def layouts(config: Config, args: argparse.Namespace) -> list[Config]:
    """The configuration on each mesh that is asked for."""
    if args.layout:
        return [with_layout(config, *LAYOUTS[name]) for name in args.layout]
    if args.fsdp or args.tensor:
        return [with_layout(config, args.fsdp or config.mesh.fsdp, args.tensor or config.mesh.tensor)]
    return [config]


def named(row: dict[str, Any]) -> dict[str, Any]:
    """A row as one of several."""
    work = f"{row['config']} step, {row['topology']}, {row['mesh']}, {row['texts_per_step']} texts"
    return {"work": work, "value": row["hbm_bytes_per_chip"] / 1e9, "unit": "GB a chip", **row}


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """What the compiler says, for people."""
    names = ("GB a chip", "of it temporary", "TFLOP", "GB to memory", "GB to chips", "compile s", "collectives")
    table = Table("encoder", "topology", "mesh", title=title + "; per chip and step", title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        kinds = ", ".join(f"{c['count']} {kind} {c['bytes'] / 1e6:.0f} MB" for kind, c in row["collectives"].items())
        numbers = (
            row["hbm_bytes_per_chip"] / 1e9,
            row["temporary_bytes_per_chip"] / 1e9,
            row["flops_per_chip"] / 1e12,
            row["memory_traffic_bytes_per_chip"] / 1e9,
            row["ici_traffic_bytes_per_chip"] / 1e9,
            row["compile_seconds"],
        )
        table.add_row(row["config"], row["topology"], row["mesh"], *(f"{number:.2f}" for number in numbers), kinds)
    return table


def print_plan(
    path: Path, config: Config, topology: str, args: argparse.Namespace, console: Console
) -> list[dict[str, Any]]:
    """Search, print what was tried from the best to what does not fit, and how to ask `train.py` for the best.

    Returns what fits as rows, the best first.
    """

    def compile_choice(choice: plan.Choice) -> dict[str, Any]:
        console.print(f"compiling {topology}, {choice}", style="dim")
        return compile_for(choice.apply(config), topology, args.texts << choice.doublings, args.items)

    tried = plan.search(compile_choice, args.layout or LAYOUTS, args.doublings)
    best = plan.ranked(tried)
    title = f"{path}, {topology}; ms are estimates: roofline, {ASSUMED_MFU:.0%} of the peak, collectives not hidden"
    table = Table("layout", "remat", "rows", title=title, title_justify="left")
    for name in ("texts", "GB a chip", "ms products", "ms memory", "ms chips", "ms a step", "ns a token"):
        table.add_column(name, justify="right")
    for one in best + [one for one in tried if not one.fits]:
        choice, row = one.choice, one.row
        rows = (str(config.train.batch_size << choice.doublings), f"{args.texts << choice.doublings:,}")
        gigabytes = f"{row['hbm_bytes_per_chip'] / 1e9:.2f}" if row else "refused"
        times: tuple[str, ...] = ("does not fit",)
        if one.fits and row:
            seconds = estimate(row)
            times = tuple(f"{1e3 * part:.1f}" for part in (*seconds, seconds.step))
            times += (f"{1e9 * seconds.step / row['tokens_per_step']:.1f}",)
        table.add_row(choice.layout, str(choice.remat), *rows, gigabytes, *times)
    console.print(table)
    console.print(f"python train.py {path} {best[0].choice.flags(config)}", soft_wrap=True)
    return [planned(one, config) for one in best]


def planned(one: plan.Tried, config: Config) -> dict[str, Any]:
    """A row of the plan for JSON."""
    assert one.row is not None
    seconds = estimate(one.row)
    rate = one.row["tokens_per_step"] / seconds.step / one.row["chips"]
    flags = {"flags": one.choice.flags(config), "estimated_seconds": {**seconds._asdict(), "step": seconds.step}}
    return {**named(one.row), "value": rate, "unit": "tokens/s a chip, estimated", **flags}


if __name__ == "__main__":
    main()
