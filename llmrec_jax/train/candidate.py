"""One candidate of the portfolio: its changes of the configuration, its run, and what it shows to the selection.

`selection.npz` in its folder holds what it shows, without pickle. It is written last and marks the candidate as
finished.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config, domain_name
from llmrec_jax.data.protocol import LAST_STEP
from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle
from llmrec_jax.losses.methods import METHODS
from llmrec_jax.parallel import make_layout
from llmrec_jax.selection import Evidence
from llmrec_jax.train.evaluation import hashes, selected_params
from llmrec_jax.train.evidence import Shown, show
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.workdir import check

FILE = "selection.npz"
NONE = "none"  # the candidate without adaptation
WEIGHT = re.compile(r"[0-9]*\.?[0-9]+")


def candidates(config: Config, specs: Sequence[str]) -> dict[str, Config]:
    """The configurations of the candidates, by name (`coral-1`). The first is `none`, so that it wins ties.

    Args:
      config: what they have in common.
      specs: METHOD:WEIGHT of each; `none` need not be among them.

    Raises:
      ValueError: an unknown method, no weight, the same candidate twice, or an invalid configuration.
    """
    found = {NONE: config_lib.changed(config, {"adapt.method": NONE})}
    config_lib.validate(found[NONE])
    for spec in specs:
        if spec == NONE:
            continue
        method, _, weight = spec.partition(":")
        if method not in METHODS or method == NONE or not WEIGHT.fullmatch(weight):
            known = ", ".join(name for name in METHODS if name != NONE)
            raise UserError(f"candidate {spec!r}: name a method and its weight, such as coral:1; methods: {known}")
        if (name := f"{method}-{weight}") in found:
            raise UserError(f"candidate {spec!r} is there twice")
        found[name] = config_lib.changed(config, {"adapt.method": method, "adapt.weight": float(weight)})
        try:
            config_lib.validate(found[name])
        except UserError as error:
            raise UserError(f"candidate {spec!r}: {error}") from error
    return found


def target_alone(config: Config) -> Config | None:
    """The run without sources, an arm of the guard; None if there are no sources or no users to train on."""
    if not (config.data.sources and config.data.target_fraction):
        return None
    selection = config.train.selection
    changes = {"data.sources": (), "adapt.method": NONE,
               "train.selection": selection if selection == LAST_STEP else "auto"}  # fmt: skip
    return config_lib.changed(config, changes)


def leaving_out(config: Config, sources: Sequence[str]) -> dict[str, Config]:
    """The runs of one candidate that leave out each of `sources`, by name of the source.

    Raises:
      ValueError: one of them is no source or is there twice, or the run trains on the target, whose users then judge.
    """
    known = {domain_name(source): source for source in config.data.sources}
    names = [name if name in known else domain_name(name) for name in sources]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--left-out {unknown[0]}: must be a source ({', '.join(known) or 'there is none'})")
    if len(set(names)) < len(names):
        raise UserError(f"--left-out {' '.join(sources)}: a source is there twice")
    if sources and config.data.target_fraction:
        raise UserError("--left-out is for runs without users of the target, data.target_fraction=0")
    return {name: config_lib.changed(config, {"train.selection": name}) for name in names}


def run_candidate(config: Config, workdir: Path, data: Data, console: Console, interrupts: Interrupts) -> Shown:
    """Train a candidate in `workdir`, or resume it there, and export its bundle; nothing is trained if it is finished.

    Raises:
      ValueError: see `train_and_evaluate`.
    """
    experiment = assemble(data, config)
    run = hashes(experiment)["run"]
    from_first(functools.partial(check, workdir, config))
    if from_first(functools.partial(_is_finished, workdir, run)):
        console.print(f"finished in {workdir}", markup=False, highlight=False)
        return _load(workdir / FILE)
    trained = train_and_evaluate(
        config,
        workdir,
        console,
        export=bundle_in(workdir),
        interrupts=interrupts,
        data=data,
        reports=False,
    )
    mesh = make_layout(config.mesh).mesh
    shown = show(trained.experiment, trained.answer, selected_params(workdir, experiment, mesh), mesh)
    if jax.process_index() == 0:
        _save(workdir / FILE, shown, run)
    return shown


def _is_finished(workdir: Path, run: str) -> bool:
    """Whether this run, with the same data and steps, is finished in `workdir`."""
    path = workdir / FILE
    if not (path.exists() and (workdir / bundle.NAME).is_dir()):
        return False
    with np.load(path) as arrays:
        return str(arrays["run"]) == run


def _save(path: Path, shown: Shown, run: str) -> None:
    evidence = {field.name: getattr(shown.evidence, field.name) for field in dataclasses.fields(Evidence)}
    arrays: dict[str, Any] = {f"evidence.{name}": value for name, value in evidence.items() if value is not None}
    for domain, arms in shown.judged.items():
        arrays |= {f"judged.{domain}/{arm}": ndcg_N for arm, ndcg_N in arms.items()}
    temporary = path.with_name(f"{path.stem}.tmp.npz")
    np.savez_compressed(temporary, run=run, **arrays)
    os.replace(temporary, path)


def _load(path: Path) -> Shown:
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files}

    def of(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}

    evidence: dict[str, Any] = {name: array if array.ndim else float(array) for name, array in of("evidence.").items()}
    judged: dict[str, dict[str, np.ndarray]] = {}
    for name, ndcg_N in of("judged.").items():
        domain, _, arm = name.rpartition("/")
        judged.setdefault(domain, {})[arm] = ndcg_N
    return Shown(Evidence(**evidence), judged)
