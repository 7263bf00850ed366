"""One run of the portfolio: its changes of the configuration, its training, and the evidence of its candidates.

`selection.npz` in the folder of a candidate contains its evidence, without pickle. It is written last and marks the
candidate as finished.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config, domain_name
from llmrec_jax.data.protocol import LAST_STEP
from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle
from llmrec_jax.parallel import make_layout, to_host
from llmrec_jax.progress import shown
from llmrec_jax.selection import Evidence
from llmrec_jax.train import merge, merging
from llmrec_jax.train.evaluation import Evaluator, hashes, selected_params
from llmrec_jax.train.evidence import Gathered, gathered
from llmrec_jax.train.experiment import Experiment, assemble
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.loop import Trained, train_and_evaluate
from llmrec_jax.train.points import MERGE, NONE, Point
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.state import Params
from llmrec_jax.train.workdir import check

FILE = "selection.npz"


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
      ValueError: one of them is no source or is given twice, or the run trains on the target, whose users then judge.
    """
    known = {domain_name(source): source for source in config.data.sources}
    names = [name if name in known else domain_name(name) for name in sources]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--left-out {unknown[0]}: must be a source ({', '.join(known) or 'there is none'})")
    if len(set(names)) < len(names):
        raise UserError(f"--left-out {' '.join(sources)}: a source is given twice")
    if sources and config.data.target_fraction:
        raise UserError("--left-out is for runs without users of the target, data.target_fraction=0")
    return {name: config_lib.changed(config, {"train.selection": name}) for name in names}


def run_candidates(
    config: Config,
    workdir: Path,
    points: Mapping[Path, Point],
    data: Data,
    console: Console,
    interrupts: Interrupts,
) -> list[Gathered]:
    """Train a run in `workdir`, or resume it there, and export its bundle; then gather the evidence of each candidate.
    `merge` is several runs, and its bundle is written by `export` only.

    Nothing is trained or gathered again if it is finished.

    Args:
      config: of the run.
      workdir: of the run.
      points: its candidates by their folders; the first is the selected step, in `workdir`.
      data: see `train_and_evaluate`.
      console: see `train_and_evaluate`.
      interrupts: see `train_and_evaluate`.

    Raises:
      ValueError: see `train_and_evaluate`, or the run did not keep a checkpoint that a candidate needs.
    """
    assert next(iter(points)) == workdir
    experiment = assemble(data, config)
    run = hashes(experiment)["run"]
    from_first(functools.partial(check, workdir, config))
    finished = from_first(lambda: [_is_finished(folder, run) for folder in points])
    answer, is_merge = None, points[workdir].run == MERGE
    if is_merge and not finished[0]:
        merge.train(config, workdir, data, console, interrupts)
    elif not (finished[0] and (is_merge or from_first((workdir / bundle.NAME).is_dir))):
        trained = train_and_evaluate(
            config, workdir, console, export=bundle_in(workdir), interrupts=interrupts, data=data, reports=False
        )
        experiment, answer = trained.experiment, trained.answer
    else:
        console.print(f"finished in {workdir}", markup=False, highlight=False)
    mesh, found = make_layout(config.mesh).mesh, []
    for (folder, point), is_finished in zip(points.items(), finished, strict=True):
        if is_finished:
            found.append(_load(folder / FILE))
            continue
        if folder != workdir:
            console.print(f"candidate {point.name}", markup=False, highlight=False)
        params = params_of(point, workdir, experiment, mesh)
        its_answer = answer if folder == workdir and answer else Evaluator(experiment, mesh).answer(params)
        with shown("judging the candidate"):
            found.append(gathered(experiment, its_answer, params, mesh))
        if jax.process_index() == 0:
            _save(folder / FILE, found[-1], run)
    return found


def params_of(point: Point, workdir: Path, experiment: Experiment, mesh: Mesh) -> Params:
    """The parameters of a candidate of the run in `workdir`, global arrays. Raises ValueError as `selected_params`."""
    if point.run == MERGE:
        params = merge.params_in(workdir, experiment, mesh)
    elif point.steps:
        params = merging.average([selected_params(workdir, experiment, mesh, step) for step in point.steps])
    else:
        params = selected_params(workdir, experiment, mesh)
    if point.share == 1:
        return params
    layout = make_layout(experiment.config.mesh)
    start = experiment.start(layout.to_global(layout.init(experiment.init_state)))
    return merging.interpolate(start.params, params, point.share)


def export(point: Point, workdir: Path, folder: Path, config: Config, data: Data) -> None:
    """Write the bundle of a candidate of the run in `workdir` to `folder/bundle`."""
    experiment, mesh = assemble(data, config), make_layout(config.mesh).mesh
    evaluator, params = Evaluator(experiment, mesh), params_of(point, workdir, experiment, mesh)
    trained = Trained(experiment, to_host(params), evaluator.item_vectors(params), evaluator.answer(params))
    if jax.process_index() == 0:
        bundle_in(folder)(trained)


def _is_finished(folder: Path, run: str) -> bool:
    """Whether a candidate of this run, with the same data and steps, is finished in `folder`."""
    path = folder / FILE
    if not path.exists():
        return False
    with np.load(path) as arrays:
        return str(arrays["run"]) == run


def _save(path: Path, shown: Gathered, run: str) -> None:
    evidence = {field.name: getattr(shown.evidence, field.name) for field in dataclasses.fields(Evidence)}
    arrays: dict[str, Any] = {f"evidence.{name}": value for name, value in evidence.items() if value is not None}
    for domain, arms in shown.judged.items():
        arrays |= {f"judged.{domain}/{arm}": ndcg_N for arm, ndcg_N in arms.items()}
    arrays |= {f"untrained.{part}": weight for part, weight in shown.untrained.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.tmp.npz")
    np.savez_compressed(temporary, run=run, **arrays)
    os.replace(temporary, path)


def _load(path: Path) -> Gathered:
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files}

    def of(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}

    evidence: dict[str, Any] = {name: array if array.ndim else float(array) for name, array in of("evidence.").items()}
    judged: dict[str, dict[str, np.ndarray]] = {}
    for name, ndcg_N in of("judged.").items():
        domain, _, arm = name.rpartition("/")
        judged.setdefault(domain, {})[arm] = ndcg_N
    return Gathered(Evidence(**evidence), judged, {part: float(weight) for part, weight in of("untrained.").items()})
