"""Computes the inputs of the selection for a finished candidate: the evidence for the validators, and NDCG@10 per user
for the guard.

The evidence is computed from a corpus without the labels of the target (`without_labels`). The guard uses the
validation events that the regime allows (`answer.Judge`). Neither reads a test event.

Shape letters besides those of `types`: those of `selection.evidence`; E events, users end to end.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from llmrec_jax.blend import Blend
from llmrec_jax.blend.answer import ANSWER, MODEL
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.evaluate.host_ranking import rank_scores, score_blocks
from llmrec_jax.evaluate.ranking import Ranks, rank
from llmrec_jax.evaluate.report import CANNOT_BE_MADE
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.predictor import Histories, Predictor, ScorePredictor, take
from llmrec_jax.selection import PROBE_ITEMS, ROWS, Evidence, sample
from llmrec_jax.train.answer import Answer
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.state import Params

UNTRAINED = "untrained"  # the answer without the trained model


class Gathered(NamedTuple):
    """The inputs of the selection for one candidate."""

    evidence: Evidence
    # Domain -> `ANSWER` and `UNTRAINED` -> NDCG@10 [N] on the validation events for the guard, if there are any.
    judged: dict[str, dict[str, np.ndarray]]
    untrained: dict[str, float]  # the weights of the answer without the trained model, by part


def gathered(experiment: Experiment, answer: Answer, params: Params, mesh: Mesh) -> Gathered:
    """The inputs of the selection for the parameters (global arrays) and the answer of a candidate.

    If the weights of the answer were fitted, each user is evaluated with weights fitted on other users (cross-fitting).
    The step was selected on all of them, so the NDCG@10 of an answer with a model is slightly too high.
    """
    evidence, judge, held_out = gather(experiment, params, mesh), answer.judge, answer.fit.held_out
    untrained = answer.fit.untrained
    if judge is None or not judge.num_users:
        return Gathered(evidence, {}, untrained)
    if held_out is not None:
        arrays = {ANSWER: held_out.answer_N, UNTRAINED: held_out.untrained_N}
        return Gathered(evidence, {judge.domain: arrays}, untrained)
    arms: dict[str, list[np.ndarray]] = {ANSWER: [], UNTRAINED: []}
    for blend, histories, target_N in judge.folds():
        # Another domain may have parts that the target lacks.
        fitted = {name: answer.fit.weights.get(name, weight) for name, weight in blend.weights.items()}
        for arm, weights in ((ANSWER, fitted), (UNTRAINED, fitted | {MODEL: 0.0})):
            ranks = rank_answer(dataclasses.replace(blend, weights=weights), histories, target_N)
            arms[arm].append(ndcg(ranks.rank_N))
    return Gathered(evidence, {judge.domain: {arm: np.concatenate(found) for arm, found in arms.items()}}, untrained)


def merged(shown: Sequence[Gathered]) -> Gathered:
    """Runs of one candidate that leave out different sources, as one: the mean of `left_out_ndcg`, the users of all of
    these sources, and the rest of the first run.
    """
    evidence, ndcg = shown[0].evidence, [one.evidence.left_out_ndcg for one in shown]
    if len(shown) > 1:
        evidence = dataclasses.replace(evidence, left_out_ndcg=float(np.mean(np.array(ndcg))))
    return Gathered(
        evidence, {domain: arms for one in shown for domain, arms in one.judged.items()}, shown[0].untrained
    )


def rank_answer(blend: Blend, histories: Sequence[np.ndarray], target_N: np.ndarray) -> Ranks:
    """`rank_scores` of the answer alone."""
    return rank_scores(ScorePredictor(ANSWER, blend.num_items, blend.scores), histories, target_N)


def gather(experiment: Experiment, params: Params, mesh: Mesh) -> Evidence:
    """The evidence of parameters. Candidates that differ in the parameters only get the same users, items and probe."""
    corpus, evaluator, config = without_labels(experiment.corpus), Evaluator(experiment, mesh), experiment.config
    width = config.model.width  # the component after it is the item bias
    users, losses, items = [], [], []
    for domain, rows in _source_users(corpus).items():
        case, predictor = corpus.case(domain, "valid"), evaluator.predictor(params, domain)
        histories, target_N = take(case.histories, rows), case.target_N[rows]
        users_ND = predictor.users(histories)
        ranks = rank(
            users_ND, predictor.items_ID, target_N, histories, mesh=mesh, batch_size=config.train.eval_batch_size
        )
        users.append(users_ND[:, :width])
        losses.append(1 - ndcg(ranks.rank_N))
        items.append(predictor.items_ID[:, :width])
    source_ID = np.concatenate(items) if items else None
    model = evaluator.predictor(params, corpus.target)
    histories, probe_K = _probe(corpus)
    text_scores_MK = None
    with contextlib.suppress(*CANNOT_BE_MADE):
        text_scores_MK = _scores(experiment.data.baselines["text_knn_decayed"]("valid"), histories, probe_K)
    trains_on_target, left_out = corpus.protocol.trains_on_target, corpus.protocol.left_out
    return Evidence(
        source_users_ND=_present(np.concatenate(users)) if users else None,
        source_losses_N=_present(np.concatenate(losses)) if losses else None,
        target_users_MD=_present(model.users(histories)[:, :width]) if trains_on_target else None,
        source_items_JD=None if source_ID is None else source_ID[sample(len(source_ID), ROWS)],
        target_items_ID=model.items_ID[sample(len(model.items_ID), ROWS), :width],
        probe_scores_MK=_scores(model, histories, probe_K),
        text_scores_MK=text_scores_MK,
        temperature=config.loss.temperature,
        left_out_ndcg=None if left_out is None else evaluator.validate(params),
    )


def without_labels(corpus: Corpus) -> Corpus:
    """The corpus without the target's held-out events; of its training events it has those of the users trained on."""
    protocol, split, target = corpus.protocol, corpus.splits[-1], corpus.domains[-1]
    users = protocol.kept if protocol.trains_on_target else np.zeros(len(split.train_end), bool)
    seen_E = split.training_events(users)
    sizes = np.where(users, split.train_end - split.offsets[:-1], 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    nothing = np.full_like(split.valid, -1)
    arrays: dict[str, Any] = {
        name: None if (values_E := getattr(split, name)) is None else values_E[seen_E]
        for name in ("items_E", "order_E", "weights_E", "times_E")
    }
    split = split._replace(offsets=offsets, train_end=offsets[1:], valid=nothing, test=nothing, **arrays)
    events = ("items_E", "ratings_E", "timestamps_E", "weights_E", "first_weights_E")
    none: dict[str, Any] = {
        name: None if getattr(target, name) is None else getattr(target, name)[:0] for name in events
    }
    target = dataclasses.replace(target, offsets=np.zeros_like(target.offsets), **none)
    return dataclasses.replace(corpus, domains=(*corpus.domains[:-1], target), splits=(*corpus.splits[:-1], split))


def _source_users(corpus: Corpus) -> dict[int, np.ndarray]:
    """Which users of the validation events of each source that is trained on: `ROWS` in all."""
    sources = [domain for domain in range(corpus.target) if domain != corpus.protocol.left_out]
    sizes = [len(corpus.case(domain, "valid").users_N) for domain in sources]
    ends = np.cumsum(sizes)
    chosen = sample(sum(sizes), ROWS)
    return {
        domain: chosen[(chosen >= end - size) & (chosen < end)] - (end - size)
        for domain, size, end in zip(sources, sizes, ends, strict=True)
    }


def _probe(corpus: Corpus) -> tuple[Histories, np.ndarray]:
    """The histories to predict for, and the items to predict: training histories of the target where the run trains on
    it, else items outside the probe, as histories of one item.
    """
    num_items, split = len(corpus.domains[-1].item_ids), corpus.splits[-1]
    probe_K = sample(num_items, min(PROBE_ITEMS, max(1, num_items // 2)))
    if not corpus.protocol.trains_on_target:
        others = np.setdiff1d(np.arange(num_items, dtype=np.int32), probe_K)
        return Histories([others[[row]] for row in sample(len(others), ROWS)], None), probe_K
    users = np.flatnonzero(split.train_end > split.offsets[:-1])
    events = [slice(split.offsets[user], split.train_end[user]) for user in users[sample(len(users), ROWS)]]
    times = None if split.times_E is None else [split.times_E[found] for found in events]
    return Histories([split.items_E[found] for found in events], times), probe_K


def _scores(predictor: Predictor, histories: Histories, probe_K: np.ndarray) -> np.ndarray | None:
    """The scores of the probe items, float32 [M, K]; None without histories."""
    blocks = [scores_RI[:, probe_K] for _, scores_RI in score_blocks(predictor, histories, np.arange(len(histories)))]
    return np.concatenate(blocks) if blocks else None


def _present(rows: np.ndarray) -> np.ndarray | None:
    return rows if len(rows) else None
