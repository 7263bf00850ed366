"""What int8 item vectors cost: NDCG@10 of the answer of a finished run, exact and as exported with --int8.

    python -m benchmarks.int8_items runs/my_shop

Ranks the test events of the target with the NumPy runner of the two exports: every item, the history masked.
"""

import argparse
from pathlib import Path

import numpy as np

from llmrec_jax.exports.array_ops import Ops
from llmrec_jax.exports.jax_program import padded
from llmrec_jax.exports.network import score
from llmrec_jax.exports.scorer import Scorer, scorer_of
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.workdir import read_config

USERS_AT_ONCE = 64


def main() -> None:
    """Parse the arguments, print the metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument("--users", type=int, default=10**9, help="at most, drawn at random")
    arguments = parser.parse_args()
    corpus = experiment_lib.build(read_config(arguments.workdir)).corpus
    case = corpus.case(corpus.target, "test")
    drawn = np.random.default_rng(0).permutation(len(case.target_N))[: arguments.users]
    histories, target_N = [case.histories[user] for user in drawn], case.target_N[drawn]
    bundle = bundle_lib.load(arguments.workdir)
    found = {name: scorer_of(bundle, int8=int8) for name, int8 in (("float32", False), ("int8", True))}
    values = {name: ndcg(scorer, histories, target_N) for name, scorer in found.items()}
    for name, scorer in found.items():
        size = sum(array.nbytes for array in scorer.arrays.values()) / 1e6
        print(f"{name:8} NDCG@10 {values[name].mean():.5f}  arrays {size:.1f} MB")
    change_N = values["int8"] - values["float32"]
    print(f"change {change_N.mean() / values['float32'].mean():+.3%} over {len(target_N):,} users, "
          f"{np.count_nonzero(change_N):,} of them with another value")  # fmt: skip


def ndcg(scorer: Scorer, histories: list[np.ndarray], target_N: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user."""
    ops, found = Ops(scorer.arrays), []
    for begin in range(0, len(target_N), USERS_AT_ONCE):
        rows = slice(begin, begin + USERS_AT_ONCE)
        scores_BJ = score(ops, scorer.facts, padded([history.tolist() for history in histories[rows]], 1))[0]
        for scores_J, history, target in zip(scores_BJ, histories[rows], target_N[rows], strict=True):
            others_J = np.ones(len(scores_J), bool)
            others_J[history], others_J[target] = False, False
            above, ties = ((scores_J[others_J] > scores_J[target]), scores_J[others_J] == scores_J[target])
            rank = 1 + above.sum() + ties.sum() / 2
            found.append(1 / np.log2(1 + rank) if rank <= 10 else 0.0)
    return np.array(found)


if __name__ == "__main__":
    main()
