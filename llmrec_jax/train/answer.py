"""The answer of a run: the parts that its regime allows, and their weights.

    zero-shot       text and structure of the titles
    transductive    also co-purchase and popularity, counted from the histories at inference
    few-shot, full  the same, counted from the training events of the users that the run may see

Items without a counted event borrow co-purchase and popularity from items with similar texts (`baselines.borrowed`).
The weights of these parts are fixed, or fitted in the last two regimes if there are enough validation users. Two parts
start at weight 0: the knowledge graph, which helps items with few events and may cost a little on the others, and the
trained model. The graph is fitted with the rest. The model gets a weight if it improves the ranking of validation
events: in the last two regimes those of the target, in the first two those of a source that was left out of training.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmrec_jax.baselines.borrowed import with_borrowed_counts
from llmrec_jax.baselines.parts import GRAPH, Fitted, counting_channels, text_channels
from llmrec_jax.blend import Blend, fit_weights, model_part
from llmrec_jax.blend.answer import MODEL, channel_part
from llmrec_jax.blend.calibration import Calibration, fit_calibration
from llmrec_jax.blend.weights import FEWEST_USERS, MOST_USERS, Fit
from llmrec_jax.config import AnswerConfig
from llmrec_jax.data.corpus import Case, Corpus
from llmrec_jax.data.domains.domain import stored_items
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import read_report
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.parts import calibration as stored_calibration
from llmrec_jax.predictor import VectorPredictor, take
from llmrec_jax.progress import counted

FOLDS = 5  # of the validation users
CALIBRATED = 2_000  # of these, at least, if there are as many

Fold = tuple[Blend, Sequence[np.ndarray], np.ndarray]


class Judge(NamedTuple):
    """The validation events on which the regime allows to fit the weights and to evaluate the trained model."""

    domain: str  # its name
    is_target: bool
    num_users: int
    folds: Callable[[], Iterator[Fold]]  # at most `MOST_USERS` of the users; the blends' weights are not fitted


class Answer(NamedTuple):
    """A fitted answer."""

    blends: dict[str, Blend]  # by the split whose events are ranked; equal unless the regime is transductive
    fit: Fit
    channels: dict[str, list[Fitted]]  # by part, as counted for "test"; for the bundle
    judge: Judge | None  # None: there are no such events
    calibration: Calibration | None = None  # of the scores, from validation events of the target


class Domains(NamedTuple):
    """What the answer reads of the run's domains, by number."""

    text_features: Callable[[int], np.ndarray | None]  # of a pretrained encoder, float32 [I, F]; None: TF-IDF is used
    model: Callable[[int], VectorPredictor]  # the trained model over the items


def make_answer(corpus: Corpus, domains: Domains, config: AnswerConfig) -> Answer:
    """Fit the answer for the target. Raises ValueError if `weights_from` names no run with the same parts."""
    target = _Parts(corpus, domains, corpus.target)
    splits = ("valid", "test") if corpus.protocol.regime == "transductive" else ("test",)
    counted = {before: target.channels(before) for before in splits}
    blends = {before: target.blend(channels) for before, channels in counted.items()}
    judge = _judge(corpus, domains, target)
    if config.weights_from is not None:
        fit = _fit_of(Path(config.weights_from), blends["test"])
    else:
        fit = _fit(judge, blends["test"], corpus.protocol.regime)
    if config.graph_weight is not None and GRAPH not in fit.weights:
        name = corpus.domains[corpus.target].name
        raise UserError(f"answer.graph_weight={config.graph_weight}, but no two items of {name!r} share a fact of a "
                        "knowledge graph (kg.tsv)")  # fmt: skip
    for part, weight in ((MODEL, config.model_weight), (GRAPH, config.graph_weight)):
        if weight is not None and part in fit.weights:
            reason = f"{fit.reason}; the weight of {part} is answer.{part}_weight"
            fit = fit._replace(weights=fit.weights | {part: weight}, reason=reason, held_out=None)
    if not any(fit.weights.values()):  # without text and counts, the model is all there is
        fit = fit._replace(weights=fit.weights | {MODEL: 1.0}, held_out=None)
    fitted = {before: dataclasses.replace(blend, weights=fit.weights) for before, blend in blends.items()}
    by_split = {before: fitted.get(before, fitted["test"]) for before in ("valid", "test")}
    return Answer(by_split, fit, counted["test"], judge, _calibration(judge, fit.weights, config.weights_from))


class _Parts:
    """The parts of the answer for one domain."""

    def __init__(self, corpus: Corpus, domains: Domains, domain: int):
        self.corpus, self.domain, self.counts = corpus, domain, corpus.protocol.regime != "zero-shot"
        items = stored_items(corpus.domains[domain].folder)
        self.num_items = len(items)
        self.by_text = text_channels(items, domains.text_features(domain))
        self.model = model_part(domains.model(domain))

    def channels(self, before: str, users: np.ndarray | None = None) -> dict[str, list[Fitted]]:
        """The channels of each part except the model; `users` are those that are counted."""
        if not self.counts:
            return self.by_text
        items_E, users_E = self.corpus.train_events(self.domain, users, before)
        is_ordered = self.corpus.splits[self.domain].is_ordered
        counts = counting_channels(items_E, users_E, self.num_items, is_ordered=is_ordered)
        is_counted_I = np.bincount(items_E, minlength=self.num_items) > 0
        return with_borrowed_counts(self.by_text | counts, np.flatnonzero(~is_counted_I), is_counted_I)

    def blend(self, channels: dict[str, list[Fitted]]) -> Blend:
        """All parts, with the weights that a fit starts from."""
        parts = [channel_part(name, [fitted.channel for fitted in found]) for name, found in channels.items()]
        weights = {part.name: float(part.name != GRAPH) for part in parts} | {MODEL: 0.0}
        return Blend(self.num_items, (*parts, self.model), weights)


def _fit_of(workdir: Path, blend: Blend) -> Fit:
    """The weights of another run."""
    weights = read_report(workdir).get("answer", {}).get("weights", {})
    if weights.keys() != blend.weights.keys():
        raise UserError(f"answer.weights_from={workdir}: its report has weights of {', '.join(weights) or 'no part'}; "
                        f"this run has {', '.join(blend.weights)}")  # fmt: skip
    return Fit(weights, 0, f"taken from {workdir}")


def _judge(corpus: Corpus, domains: Domains, target: _Parts) -> Judge | None:
    """The kept users of the target where the run trains on it, else the users of the source that was left out."""
    protocol = corpus.protocol
    on_target = protocol.trains_on_target
    domain = corpus.target if on_target else protocol.left_out
    if domain is None:
        return None
    case = corpus.case(domain, "valid", protocol.kept if on_target else None)
    chosen_N = np.random.default_rng(0).permutation(len(case.users_N))[:MOST_USERS]

    def folds() -> Iterator[Fold]:
        if not on_target:
            parts = _Parts(corpus, domains, domain)
            yield parts.blend(parts.channels("valid")), *_rows(case, chosen_N)
            return
        # The counts leave out the user's own events: the history of a test event ends with an item that is not counted.
        for number in range(FOLDS):
            rows, others = chosen_N[number::FOLDS], np.ones(len(protocol.kept), bool)
            others[case.users_N[rows]] = False
            yield target.blend(target.channels("valid", others)), *_rows(case, rows)

    return Judge(corpus.domains[domain].name, on_target, len(case.users_N), folds)


def _fit(judge: Judge | None, blend: Blend, regime: str) -> Fit:
    """Fit the weights on the validation events that the regime may use."""
    if judge is None:
        reason = f"fixed, because the regime is {regime} and no source was left out to fit them on"
        return Fit(dict(blend.weights), 0, reason)
    if judge.num_users < FEWEST_USERS:
        reason = f"fixed, because {judge.domain} has {judge.num_users:,} validation users, fewer than {FEWEST_USERS}"
        return Fit(dict(blend.weights), judge.num_users, reason)
    folds = counted(judge.folds(), "fitting the weights of the answer, folds", FOLDS if judge.is_target else 1)
    fit = fit_weights(folds, judge.domain, fit_untrained=judge.is_target)
    # Another domain may have other parts.
    fitted_parts = list(blend.weights) if judge.is_target else [MODEL]
    weights = dict(blend.weights) | {part: fit.weights[part] for part in fitted_parts}
    return fit._replace(weights=weights, fitted_untrained=fit.fitted_untrained if judge.is_target else None)


def _calibration(judge: Judge | None, weights: dict[str, float], weights_from: str | None) -> Calibration | None:
    """Fitted on validation users of the target. A refit has none: it takes the calibration of the finished run."""
    if judge is not None and judge.is_target and judge.num_users:
        num_folds = math.ceil(FOLDS * CALIBRATED / judge.num_users)
        return fit_calibration(itertools.islice(judge.folds(), num_folds), weights)
    if weights_from is not None and (bundle := Path(weights_from) / bundle_lib.NAME).is_dir():
        return stored_calibration(bundle)
    return None


def _rows(case: Case, rows: np.ndarray) -> tuple[Sequence[np.ndarray], np.ndarray]:
    return take(case.histories, rows), case.target_N[rows]
