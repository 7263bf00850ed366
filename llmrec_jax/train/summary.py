"""The first lines that a run prints: domains, split, regime and selection; model size and mesh."""

import jax
from jax.sharding import Mesh

from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.train.state import TrainState


def data_summary(corpus: Corpus) -> str:
    """The domains, their splits, the regime and the step selection."""
    plan = corpus.plan
    lines = [
        f"{d.name}: {len(users):,} of {len(d.user_ids):,} users for training, {len(d.item_ids):,} items, "
        f"order {d.order} ({d.report['order_reason']}), {split.method}, {rows} rows per batch"
        + "".join(f"\n  {note}" for note in d.report["notes"])
        for d, split, users, rows in zip(corpus.domains, corpus.splits, plan.users, plan.rows, strict=True)
    ]
    selection = corpus.protocol.selection
    whose = f" ({corpus.domains[selection.domain].name})" if selection.domain is not None else ""
    refit = "; validation events are trained on" if corpus.facts["trained_on"] == "train+valid" else ""
    if plan.reads_times and not plan.has_times:
        lines.append("no domain has times, so hstu is trained without its time bias")
    return "\n".join([*lines, f"{corpus.protocol.regime}{refit}; step selected by {selection.validator}{whose}"])


def model_summary(config: Config, mesh: Mesh, state: TrainState) -> str:
    """Parameters of the global state, mode and mesh."""
    num_params = sum(x.size for x in jax.tree.leaves(state.params))
    sizes = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return f"{num_params:,} parameters; {config.mesh.mode} on {sizes}"
