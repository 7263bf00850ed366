"""Items that nobody has bought yet, in the untrained answer on all training events: are they found, what does it cost?

    python -m benchmarks.new_items DATA scientific beauty video_games

A random tenth of the items of each domain is hidden: their events are removed everywhere, also from the histories and
the validation events, so that weights are fitted without them. Prints a Markdown table: Recall@10 / NDCG@10 of the
events (`--split`) whose target is a hidden item, of all others, and the change of the NDCG@10 of the latter. Rows are
the text k-NN of every report, the answer with counts that hidden items do not have, and with counts that they borrow
from items with similar texts (`baselines.borrowed`), by their share of co-purchase and popularity.
"""

import argparse
import contextlib
import dataclasses
from unittest import mock

import numpy as np

from benchmarks.answers import features, no_model, parser_of
from benchmarks.cold_items import cold_items
from llmrec_jax.baselines.borrowed import SHARE
from llmrec_jax.baselines.text import text_knn_decayed
from llmrec_jax.blend import Blend
from llmrec_jax.config import AnswerConfig, Config, DataConfig
from llmrec_jax.data.corpus import Corpus, load_corpus
from llmrec_jax.data.domains.split import Split
from llmrec_jax.evaluate.host_ranking import rank_blend
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train.answer import Domains, make_answer


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--split", default="test", choices=["valid", "test"])
    parser.add_argument("--shares", nargs="+", type=_share, default=[tuple(SHARE.values())],
                        metavar="CO_PURCHASE,POPULARITY",
                        help="more than one to compare; the default is that of the program")  # fmt: skip
    parser.add_argument("--fixed", action="store_true", help="keep the weights of the parts that a fit starts from")
    parser.add_argument("--seed", type=int, default=0, help="draws the hidden items")
    args = parser.parse_args(arguments)
    print("| domain | | hidden items | other items | change |\n|---|---|---|---|---|")
    for name in args.domains:
        data = DataConfig(root=args.root, sources=("demo:films",), target=name, cache_dir=args.cache_dir)
        _print_rows(data, args)


def _print_rows(data: DataConfig, args: argparse.Namespace) -> None:
    corpus = load_corpus(data, 64, seed=0)
    target, features_IF = corpus.target, features(corpus, data, args.encoder)
    is_hidden_I = cold_items(len(features_IF), args.seed)
    case = corpus.case(target, args.split)
    without = dataclasses.replace(
        corpus, splits=(*corpus.splits[:-1], without_items(corpus.splits[target], is_hidden_I))
    )
    histories = [history[~is_hidden_I[history]] for history in case.histories]
    kept = [n for n, history in enumerate(histories) if len(history)]
    histories, target_N = [histories[n] for n in kept], case.target_N[kept]
    case = case._replace(histories=histories, target_N=target_N, users_N=case.users_N[kept])
    is_hidden_N = is_hidden_I[target_N]
    ranks = rank_case(text_knn_decayed(features_IF), case, mesh=make_mesh(Config().mesh), batch_size=1024)
    print(_row(data.target, "text_knn_decayed", ranks.rank_N, is_hidden_N, None), flush=True)
    first = None
    for shares in [(0.0, 0.0), *args.shares]:
        blend = _answer(without, features_IF, shares, args.fixed)
        rank_N = rank_blend(blend, case.histories, case.target_N)["answer"].rank_N
        label = "answer, shares {:g} and {:g}".format(*shares)
        print(_row("", label, rank_N, is_hidden_N, first), flush=True)
        first = first or metrics(rank_N[~is_hidden_N])["ndcg@10"]
    print(f"| | events | {int(is_hidden_N.sum()):,} | {int((~is_hidden_N).sum()):,} | |", flush=True)


def without_items(split: Split, is_hidden_I: np.ndarray) -> Split:
    """The split without the events of some items. A held-out event without an event before it is none any more."""
    is_kept_E = ~is_hidden_I[split.items_E]
    before_E = np.concatenate([[0], np.cumsum(is_kept_E)])  # kept events before each event, and the end
    offsets, train_end = before_E[split.offsets], before_E[split.train_end]

    def moved(event_N: np.ndarray) -> np.ndarray:
        is_kept_N = (event_N >= 0) & is_kept_E[event_N] & (before_E[event_N] > offsets[:-1])
        return np.where(is_kept_N, before_E[event_N], -1)

    return split._replace(
        items_E=split.items_E[is_kept_E],
        offsets=offsets,
        train_end=train_end,
        valid=moved(split.valid),
        test=moved(split.test),
        order_E=_of(split.order_E, is_kept_E),
        weights_E=_of(split.weights_E, is_kept_E),
        times_E=_of(split.times_E, is_kept_E),
        cut_at=split.cut_at and tuple(before_E[cut] for cut in split.cut_at),
    )


def _of(array_E: np.ndarray | None, is_kept_E: np.ndarray) -> np.ndarray | None:
    return None if array_E is None else array_E[is_kept_E]


def _answer(corpus: Corpus, features_IF: np.ndarray, shares: tuple[float, ...], is_fixed: bool) -> Blend:
    domains = Domains(lambda _: features_IF, no_model(corpus))
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.dict(SHARE, zip(SHARE, shares, strict=True)))
        if is_fixed:  # without validation users, nothing is fitted
            patches.enter_context(mock.patch("llmrec_jax.train.answer._judge", return_value=None))
        return make_answer(corpus, domains, AnswerConfig()).blends["test"]


def _row(name: str, label: str, rank_N: np.ndarray, is_hidden_N: np.ndarray, first: float | None) -> str:
    hidden, others = metrics(rank_N[is_hidden_N]), metrics(rank_N[~is_hidden_N])
    cells = [f"{found['recall@10']:.4f} / {found['ndcg@10']:.4f}" for found in (hidden, others)]
    change = "" if first is None else f"{100 * (others['ndcg@10'] / first - 1):+.2f} %"
    return f"| {name} | {label} | {' | '.join(cells)} | {change} |"


def _share(text: str) -> tuple[float, ...]:
    shares = tuple(float(part) for part in text.split(","))
    if len(shares) != len(SHARE):
        raise argparse.ArgumentTypeError(f"{text!r}: {len(SHARE)} numbers separated by a comma are expected")
    return shares


if __name__ == "__main__":
    main()
