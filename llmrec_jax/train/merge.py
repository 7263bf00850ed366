"""The candidate `merge`: a model for each source that is trained on, merged with weights learned on the target's items.

    DIR/only/SOURCE     the run on one source
    DIR/weights.json    the weight of each source's task vector

Zero-shot only. See `merging` for the method.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.errors import UserError
from llmrec_jax.parallel import make_layout
from llmrec_jax.selection import sample
from llmrec_jax.train import merging
from llmrec_jax.train.evaluation import hashes, selected_params
from llmrec_jax.train.experiment import Experiment, assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.state import Params
from llmrec_jax.train.workdir import claim, write_json
from llmrec_jax.types import Catalog

FILE = "weights.json"
BATCH, STEPS = 128, 50  # items of a batch, and batches, from which the weights are learned


def check(corpus: Corpus) -> None:
    """Raises ValueError if a run on this corpus has nothing to merge."""
    if corpus.protocol.trains_on_target:
        raise UserError("candidate merge: for runs without users of the target, data.target_fraction=0")
    if len(found := sources_of(corpus)) < 2:
        raise UserError(f"candidate merge: {', '.join(found)} is the only source that is trained on; merge needs two, "
                        "beside the one that train.selection leaves out")  # fmt: skip


def sources_of(corpus: Corpus) -> list[str]:
    """The names of the sources that are trained on."""
    left_out = corpus.protocol.left_out
    return [domain.name for number, domain in enumerate(corpus.domains[:-1]) if number != left_out]


def train(config: Config, workdir: Path, data: Data, console: Console, interrupts: Interrupts) -> None:
    """Train or resume the runs, and learn their weights. Raises ValueError as `train_and_evaluate`."""
    experiment = assemble(data, config)
    for source in sources_of(experiment.corpus):
        console.print(f"merge: training on {source}", markup=False, highlight=False)
        train_and_evaluate(
            _only(config, source), workdir / "only" / source, console, interrupts=interrupts, data=data, reports=False
        )
    mesh = make_layout(config.mesh).mesh
    start, trained = _models(workdir, experiment, mesh)
    graphdef, catalog = experiment.for_inference()
    catalog = jax.device_put(catalog, jax.NamedSharding(mesh, jax.P()))
    weights_S = merging.learn_weights(
        functools.partial(_scores, graphdef), start, trained, catalog, _batches(experiment.corpus)
    )
    weights = dict(zip(sources_of(experiment.corpus), weights_S.tolist(), strict=True))
    console.print(f"merge: weights {weights}", markup=False, highlight=False)
    if jax.process_index() == 0:
        claim(workdir, config)
        write_json(workdir / FILE, {"run": hashes(experiment)["run"], "weights": weights})


def params_in(workdir: Path, experiment: Experiment, mesh: Mesh) -> Params:
    """The merged parameters, global arrays. Call it after `train`."""
    start, trained = _models(workdir, experiment, mesh)
    weights = from_first(lambda: json.loads((workdir / FILE).read_text()))["weights"]
    weights_S = np.array([weights[source] for source in sources_of(experiment.corpus)], np.float32)
    return merging.add_task_vectors(start, trained, weights_S)


def _only(config: Config, source: str) -> Config:
    return config_lib.changed(config, {"train.only_source": source})


def _models(workdir: Path, experiment: Experiment, mesh: Mesh) -> tuple[Params, list[Params]]:
    """The parameters before the training, and those of each source."""
    layout, trained = make_layout(experiment.config.mesh), []
    start = experiment.start(layout.to_global(layout.init(experiment.init_state))).params
    for source in sources_of(experiment.corpus):
        of_source = assemble(experiment.data, _only(experiment.config, source))
        trained.append(selected_params(workdir / "only" / source, of_source, mesh))
    return start, trained


def _batches(corpus: Corpus) -> np.ndarray:
    """Numbers of items of the target in the joint catalogue [T, N]; every batch has different items."""
    items = corpus.items(corpus.target)
    size = min(BATCH, items.stop - items.start)
    return np.stack([items.start + sample(items.stop - items.start, size, seed) for seed in range(STEPS)])


def _scores(graphdef: Any, params: Params, catalog: Catalog, items_N: jax.Array) -> jax.Array:
    """Scores [N, N] of the items for users whose history is one of them each."""
    model = nnx.merge(graphdef, params)
    items_ND = model.encode_items(items_N, catalog)
    users_N1D = model.encode_histories(items_ND[:, None], jax.numpy.ones((len(items_N), 1), bool))
    return users_N1D[:, 0] @ items_ND.T
