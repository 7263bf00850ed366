"""Everything the data side of a run knows: its domains, how they are split, their joint catalogue, the plan of batches.

The meeting point of this room: the trainer and inference read a `Corpus` and none of the files behind it.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.pipeline import BatchPlan, plan_batches
from llmrec_jax.data.domains.domain import Domain, load_domain
from llmrec_jax.data.domains.split import Split, leaks, split, train_counts
from llmrec_jax.data.texts.catalog import JointCatalog
from llmrec_jax.errors import UserError


class Case(NamedTuple):
    """What an evaluation asks: for each user a history and the item that came next (item numbers of the domain)."""

    domain: int
    split: str  # "valid" or "test"
    histories: list[np.ndarray]  # int32, oldest first
    target_N: np.ndarray  # int32


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """The data of a run. Lists run over the domains: sources first, the target last."""

    domains: tuple[Domain, ...]
    splits: tuple[Split, ...]
    joint: JointCatalog
    plan: BatchPlan
    hash: str  # of all content and of every setting that decides what is read from it
    facts: dict[str, Any]  # for the report: counts, split methods, leaks

    @property
    def target(self) -> int:
        """The number of the target domain."""
        return len(self.domains) - 1

    @property
    def zero_shot(self) -> bool:
        """No user of the target is trained on."""
        return self.plan.rows[-1] == 0

    def items(self, domain: int) -> slice:
        """The domain's items in the joint catalogue."""
        return slice(int(self.joint.starts[domain]), int(self.joint.starts[domain + 1]))

    def case(self, domain: int, split_name: str) -> Case:
        """The evaluation of one domain's users on `valid` or `test`; users without such an event are left out."""
        split = self.splits[domain]
        event_N = {"valid": split.valid, "test": split.test}[split_name]
        users = np.flatnonzero(event_N >= 0)
        histories = [split.items_E[split.offsets[user] : event_N[user]] for user in users]
        return Case(domain, split_name, histories, split.items_E[event_N[users]])

    def train_counts(self, domain: int) -> np.ndarray:
        """Training events of each item of a domain, int64: of all its users, whether the run trains on them or not."""
        return train_counts(self.splits[domain], len(self.domains[domain].item_ids))

    def popularity(self) -> np.ndarray:
        """Training events of each item of the joint catalogue, int64 [I]."""
        return np.concatenate([self.train_counts(domain) for domain in range(len(self.domains))])


def load_corpus(config: DataConfig, batch_size: int, seed: int, *, num_shards: int = 1) -> Corpus:
    """Prepare or open the domains of a run, split them and plan its batches, to be cut into `num_shards`.

    Raises:
      ValueError: a domain does not exist, its records are bad (file and line are named), it has no training users, ...
    """
    domains = tuple(load_domain(spec, config) for spec in (*config.sources, config.target))
    names = [domain.name for domain in domains]
    if len(set(names)) < len(names):
        raise UserError(f"data.sources and data.target name a domain twice: {', '.join(names)}")
    splits = tuple(split(domain, config.split, seed) for domain in domains)
    joint = JointCatalog.of(domains)
    facts = {
        "domains": {
            domain.name: {**domain.report, "split": s.method} for domain, s in zip(domains, splits, strict=True)
        },
        "leaks": {domain.name: leaks(domain, domains[-1]) for domain in domains[:-1]},
    }
    ignored = ("root", "cache_dir")  # where things lie does not change them
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in ignored}
    settings |= {"sources": names[:-1], "target": names[-1]}
    digest = hashlib.sha256(repr((seed, batch_size, sorted(settings.items()))).encode())
    for domain in domains:
        digest.update(domain.hash.encode())
    plan = plan_batches(splits, joint.starts, config, batch_size, seed, num_shards=num_shards)
    return Corpus(domains, splits, joint, plan, digest.hexdigest(), facts)


def cache_folder(config: DataConfig, kind: str) -> Path:
    """The part of the cache that holds one kind of derived data."""
    return Path(config.cache_dir) / kind
