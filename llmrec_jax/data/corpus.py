"""The `Corpus`: all data of a run (domains, splits, protocol, joint catalogue, batch plan).

The trainer and inference read the data only through a `Corpus`.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from llmrec_jax.config import DataConfig, domain_name
from llmrec_jax.data.batches.batch import BatchPlan
from llmrec_jax.data.batches.pipeline import only_source, plan_batches
from llmrec_jax.data.batches.triples import Graph, joint_graph
from llmrec_jax.data.domains.domain import Domain, load_domain
from llmrec_jax.data.domains.split import Split, leaks, split, temporal_cuts
from llmrec_jax.data.protocol import LAST_STEP, Protocol, make_protocol
from llmrec_jax.data.texts.catalog import JointCatalog
from llmrec_jax.errors import UserError
from llmrec_jax.predictor import Histories


class Case(NamedTuple):
    """The users of an evaluation: a history and the next item for each, as item numbers of the domain."""

    domain: int
    split: str  # "valid" or "test"
    histories: Sequence[np.ndarray]  # int32, oldest first; those of a corpus are `Histories`
    target_N: np.ndarray  # int32
    users_N: np.ndarray  # int64 user numbers of the domain


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """The data of a run. Sequences have one entry per domain: sources first, the target last."""

    domains: tuple[Domain, ...]
    splits: tuple[Split, ...]
    protocol: Protocol
    joint: JointCatalog
    plan: BatchPlan
    hashes: dict[str, str]  # see `_hashes`
    facts: dict[str, Any]  # for the report: counts, split methods, leaks
    graph: Graph | None = None  # the knowledge graphs of all domains, if a task learns them

    @property
    def hash(self) -> str:
        """Hash of the content of all domains and of all settings that affect how it is read and batched."""
        return self.hashes["run"]

    @property
    def target(self) -> int:
        """Index of the target domain."""
        return len(self.domains) - 1

    def items(self, domain: int) -> slice:
        """The slice of the joint catalogue with the items of a domain."""
        return slice(int(self.joint.starts[domain]), int(self.joint.starts[domain + 1]))

    def case(self, domain: int, split_name: str, users: np.ndarray | None = None) -> Case:
        """The evaluation of one domain on `valid` or `test`, for the users that have such an event.

        `users` is a mask over the domain's users; None means all.
        """
        split = self.splits[domain]
        event_N = {"valid": split.valid, "test": split.test}[split_name]
        users_N = np.flatnonzero(event_N >= 0 if users is None else (event_N >= 0) & users)
        before = [slice(split.offsets[user], event_N[user]) for user in users_N]
        times = None if split.times_E is None else [split.times_E[events] for events in before]
        histories = Histories([split.items_E[events] for events in before], times)
        return Case(domain, split_name, histories, split.items_E[event_N[users_N]], users_N)

    def report_cases(self) -> list[Case]:
        """The evaluations in the report, on the target: validation and test. Empty ones are left out.

        Test covers all users. Validation covers only the `kept` users if the run trains on the target: the others'
        events are labels it must not use.
        """
        kept = self.protocol.kept if self.protocol.trains_on_target else None
        cases = [self.case(self.target, "valid", kept), self.case(self.target, "test")]
        return [case for case in cases if len(case.users_N)]

    def train_counts(self, domain: int, before: str = "valid") -> np.ndarray:
        """Events per item of a domain that counts may use (`counted`), int64 [I]; with weights their sums, float64."""
        split, is_counted_E = self.splits[domain], self.counted(domain, before=before)
        weights = None if split.weights_E is None else split.weights_E[is_counted_E]
        return np.bincount(split.items_E[is_counted_E], weights, minlength=len(self.domains[domain].item_ids))

    def train_matrix(self, domain: int, before: str = "valid") -> scipy.sparse.csr_matrix:
        """The events that counts may use (`counted`): users x items, float64, 1 where a user has an item."""
        items_E, user_E = self.train_events(domain, before=before)
        shape = len(self.domains[domain].user_ids), len(self.domains[domain].item_ids)
        return scipy.sparse.csr_matrix((np.ones(len(items_E)), (user_E, items_E)), shape=shape)

    def train_events(
        self, domain: int, users: np.ndarray | None = None, before: str = "valid"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The events that counts may use (`counted`), users end to end, each in order: item numbers and users."""
        split, is_counted_E = self.splits[domain], self.counted(domain, users, before)
        user_E = np.repeat(np.arange(len(split.train_end)), np.diff(split.offsets))
        return split.items_E[is_counted_E], user_E[is_counted_E]

    def counted(self, domain: int, users: np.ndarray | None = None, before: str = "valid") -> np.ndarray:
        """A mask [E] of the events that counts may use when the events of the split `before` are ranked.

        Training events; of the target only those of the `kept` users. Transductive: all events of the target before
        the ranked one of the same user, so that for `test` the validation events are included. Zero-shot: the training
        events of all users of the target; a baseline that uses them sees more than the model.

        Args:
          domain: its number.
          users: a mask over the domain's users, to count fewer; None: all that may be counted.
          before: "valid" or "test".
        """
        split = self.splits[domain]
        may = np.ones(len(split.train_end), bool) if users is None else users
        if domain == self.target and self.protocol.trains_on_target:
            may = may & self.protocol.kept
        if domain == self.target and self.protocol.regime == "transductive" and before == "test":
            split = split._replace(train_end=split.test_begin())
        return split.training_events(may)

    def popularity(self) -> np.ndarray:
        """`train_counts` of all domains, concatenated, [I]: I items of the joint catalogue."""
        return np.concatenate([self.train_counts(domain) for domain in range(len(self.domains))])


def load_corpus(
    config: DataConfig,
    batch_size: int,
    seed: int,
    *,
    num_shards: int = 1,
    selection: str = LAST_STEP,
    num_negatives: int = 0,
    mask_rate: float = 0.0,
    reads_times: bool = False,
    reads_graph: bool = False,
    domains: Sequence[Domain] | None = None,
) -> Corpus:
    """Prepare or open the domains of a run, split them and plan the batches.

    Args:
      config: the data section.
      batch_size: users of the global batch.
      seed: seed of the batches; the split has its own, `config.split_seed`.
      num_shards: number of shards of a batch.
      selection: `train.selection`, which may leave a source out of the batches.
      num_negatives: negatives sampled per domain and step, for a ranking loss that needs them.
      mask_rate, reads_times: see `plan_batches`.
      reads_graph: whether a task learns the knowledge graphs; `data.split_seed` draws the triples that are held out.
      domains: those of the configuration, if they are loaded already.

    Raises:
      ValueError: e.g. a domain does not exist, has bad records (the message gives file and line), or has no users to
        train on or to evaluate.
    """
    domains = tuple(domains or (load_domain(spec, config) for spec in (*config.sources, config.target)))
    names = [domain.name for domain in domains]
    if len(set(names)) < len(names):
        raise UserError(f"data.sources and data.target name a domain twice: {', '.join(names)}; name each once")
    cuts = temporal_cuts(domains[-1]) if config.split == "temporal" else None
    splits = tuple(split(domain, config.split, config.split_seed, cuts, config.train_on) for domain in domains)
    protocol = make_protocol(domains, splits, config, selection)
    joint = JointCatalog.of(domains)
    left_out = protocol.left_out
    graph = joint_graph(domains, config.split_seed) if reads_graph else None
    plan = plan_batches(
        splits,
        joint.starts,
        config,
        batch_size,
        seed,
        num_shards=num_shards,
        left_out=left_out,
        num_negatives=num_negatives,
        mask_rate=mask_rate,
        reads_times=reads_times,
        graph=graph.part(is_held_out=False) if graph else None,
    )
    trained = [np.isin(np.arange(len(s.train_end)), users) for s, users in zip(splits, plan.users, strict=True)]
    facts = {
        "trained_on": config.train_on,
        "domains": {
            domain.name: {**domain.report, "order": domain.order, "split": s.method, "trained_users": int(users.sum())}
            for domain, s, users in zip(domains, splits, trained, strict=True)
        },
        "leaks": {
            domain.name: leaks(domain, domains[-1], s, users)
            for domain, s, users in zip(domains[:-1], splits, trained, strict=False)
        },
    }
    ignored = {"root", "cache_dir"}  # paths do not affect the content
    # Newer fields are in the hash only where they are used, so that older runs can be resumed.
    ignored |= {"source_temperature"} if config.source_temperature == 1 else set()
    ignored |= set() if config.graph_text else {"graph_text"}
    ignored |= {"augment", "augment_rate"} if config.augment == "none" else set()
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in ignored}
    settings |= {"sources": names[:-1], "target": names[-1]}
    run = (seed, batch_size, left_out, sorted(settings.items()))
    return Corpus(domains, splits, protocol, joint, plan, _hashes(domains, splits[-1], config, run), facts, graph)


def _hashes(domains: tuple[Domain, ...], held_out: Split, config: DataConfig, run: Any) -> dict[str, str]:
    """SHA-256, hex.

    content: the bytes of the domains and how they were read.
    split: the content of the target and its held-out events. Runs with the same split hash are tested on the same
    events, whatever their sources, regime and seed.
    run: the content and all data settings that affect the results (`run`).
    """

    def digest(*parts: Any) -> str:
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    content = digest(*(domain.hash for domain in domains))
    return {
        "content": content,
        "split": digest(domains[-1].hash, config.split, held_out.method, config.split_seed),
        "run": digest(content, run),
    }


def cache_folder(config: DataConfig, kind: str) -> Path:
    """The cache folder of one kind of derived data."""
    return Path(config.cache_dir) / kind


def of_source(corpus: Corpus, source: str, config: DataConfig) -> Corpus:
    """The corpus with the batches of a run that trains on one source; catalogue and held-out events stay the same.

    Raises:
      ValueError: `source` is none of the sources, or it is left out.
    """
    names = [domain.name for domain in corpus.domains[:-1]]
    if domain_name(source) not in names or names.index(domain_name(source)) == corpus.protocol.left_out:
        raise UserError(f"train.only_source={source}: must be a source that is trained on ({', '.join(names)})")
    number = names.index(domain_name(source))
    run = hashlib.sha256(repr((corpus.hash, number)).encode()).hexdigest()
    plan = only_source(corpus.plan, number, config)
    trained = {name: len(users) for name, users in zip([*names, corpus.domains[-1].name], plan.users, strict=True)}
    domains = {name: {**facts, "trained_users": trained[name]} for name, facts in corpus.facts["domains"].items()}
    facts = corpus.facts | {"domains": domains}
    return dataclasses.replace(corpus, plan=plan, hashes=corpus.hashes | {"run": run}, facts=facts)
