"""The same works with llmrec_jax: `python -m benchmarks.peers.ours WORK FILE.npz [...]`; see `torch_side.py`."""

import argparse
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.peers.turns import serve
from llmrec_jax.config import AdaptConfig, Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.buckets import NUM_BUCKETS, bucket_lengths
from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.evaluate.ranking import metrics, rank
from llmrec_jax.losses.ranking import in_batch
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.encode import encode_texts
from llmrec_jax.models.gpt2 import Gpt2Config
from llmrec_jax.models.layers import pool
from llmrec_jax.models.scoring import l2_normalize
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.optimizer import make_optimizer
from llmrec_jax.train.step import train_step

TEMPERATURE = 0.05
OPTIM = OptimConfig(learning_rate=1e-5, warmup_steps=1)


def dtype(args: argparse.Namespace) -> Any:
    """The compute dtype."""
    return jnp.dtype("bfloat16" if args.bfloat16 else "float32")


def contrastive_step(encoder: Any) -> Any:
    """`step(state, texts, place_P2, mask_U, key) -> (state, loss)`; texts are (tokens, mask) a bucket, end to end."""
    graphdef, params = nnx.split(encoder)
    params, tx = nnx.to_pure_dict(params), make_optimizer(OPTIM, 10_000)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, texts: Any, place_P2: Any, mask_U: Any, key: Any) -> Any:
        def loss_fn(params: Any) -> jax.Array:
            model, keys = nnx.merge(graphdef, params), jax.random.split(key, len(texts))
            vectors_UF = l2_normalize(jnp.concatenate([
                pool(model(tokens, mask, rngs=nnx.Rngs(dropout=key)), mask, "mean")
                for (tokens, mask), key in zip(texts, keys, strict=True)
            ]))  # fmt: skip
            losses = in_batch(
                vectors_UF[place_P2[:, 0]],
                vectors_UF,
                place_P2[:, 1],
                temperature=TEMPERATURE,
                item_ids_U=jnp.arange(len(vectors_UF)),
                item_mask_U=mask_U,
                log_q_U=jnp.zeros(len(vectors_UF)),
            )
            return losses.mean()

        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (jax.tree.map(jnp.add, params, updates), opt_state), loss

    return step, (params, tx.init(params))


def minilm_step(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """The batch's distinct titles in buckets by length, each padded to the bucket's usual number of texts."""
    step, state = contrastive_step(from_pretrained(args.minilm, dtype=dtype(args)))
    batches, prepared = titles(work, distinct=True, buckets=NUM_BUCKETS)
    return _stepper(step, state, batches, prepared, args)


def titles(work: dict[str, np.ndarray], *, distinct: bool, buckets: int) -> Any:
    """The batches, and what makes one of them ready for the step: texts by bucket, places of the pairs, mask."""
    table = TokenTable(work["ids_T"], work["offsets_I"])
    batches = [
        np.unique(pairs, return_inverse=True) if distinct else (pairs.reshape(-1), np.arange(pairs.size))
        for pairs in work["pairs_BP2"]
    ]
    lengths_I = np.diff(table.offsets)
    ends = bucket_lengths(lengths_I, buckets)
    bucket_I = np.searchsorted(ends, lengths_I)
    capacities = np.max([np.bincount(bucket_I[items], minlength=len(ends)) for items, _ in batches], axis=0)
    capacities = -(-capacities // 8) * 8

    def prepared(items: np.ndarray, place: np.ndarray) -> Any:
        texts, new_place, mask = [], np.zeros(len(items), np.int32), np.zeros(capacities.sum(), bool)
        for bucket, (start, room) in enumerate(zip(np.cumsum([0, *capacities]), capacities, strict=False)):
            mine = np.flatnonzero(bucket_I[items] == bucket)
            new_place[mine] = start + np.arange(len(mine))
            mask[start : start + len(mine)] = True
            tokens, tokens_mask = table.padded(items[np.resize(mine, room)], int(ends[bucket]))
            texts.append((tokens, tokens_mask))
        return texts, new_place[place.reshape(-1, 2)], mask

    return batches, prepared


def gpt2_step(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """Texts without padding; partners are halves of the batch."""
    ids_BL = work["ids_BL"]
    half = len(ids_BL) // 2
    place = np.stack([np.arange(half), half + np.arange(half)], axis=1).astype(np.int32)
    texts = [(ids_BL, np.ones(ids_BL.shape, bool))]
    candidates = np.arange(len(ids_BL)) >= half
    step, state = contrastive_step(new_encoder(Gpt2Config(num_layers=args.layers, dtype=dtype(args)), nnx.Rngs(0)))
    parameters = sum(x.size for x in jax.tree.leaves(state[0]))
    run, units, facts = _stepper(
        step, state, [(candidates, place)], lambda mask, place: (texts, place, mask), args, units=1.0
    )
    return run, units, lambda: {**facts(), "parameters": parameters}


def _stepper(step: Any, state: Any, batches: Any, prepared: Any, args: argparse.Namespace, units: float = 0.0) -> Any:
    turn, losses = iter(range(10**9)), []

    def run() -> None:
        nonlocal state
        number = next(turn)
        state, loss = step(state, *prepared(*batches[number % len(batches)]), jax.random.key(number))
        losses.append(float(loss))

    for _ in range(args.warmup):
        run()
    return run, units or float(np.mean([len(items) for items, _ in batches])), lambda: {"loss": losses[0]}


def encode(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """What makes a frozen encoder's vectors."""
    table, vectors = TokenTable(work["ids_T"], work["offsets_I"]), np.zeros(0)
    encoder = from_pretrained(args.minilm, dtype=dtype(args))

    def run() -> None:
        nonlocal vectors
        vectors = encode_texts(encoder, table, "mean")

    run()  # compiles every length
    return run, float(len(table)), lambda: {"norm": float(np.linalg.norm(vectors, axis=1).mean())}


def sasrec(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """Steps of the trainer over the beauty users: ids alone, every position a target, softmax over all items."""
    config = Config(
        data=DataConfig(root=args.data_root, sources=(), target="beauty", cache_dir=args.cache),
        model=ModelConfig(item_features="id", compute_dtype=dtype(args).name),  # 2 layers, width 64
        loss=LossConfig(ranking="softmax", temperature=TEMPERATURE),
        adapt=AdaptConfig(method="none"),
        optim=OPTIM,
        train=TrainConfig(steps=10_000, batch_size=args.batch),
    )
    experiment = experiment_lib.build(config)
    layout = make_layout(config.mesh)
    state, catalog = layout.init(experiment.init_state), layout.put_whole(experiment.catalog)
    step = layout.compile(lambda *a, collectives: train_step(*a, spec=experiment.spec, collectives=collectives), state)
    plan, turn = experiment.corpus.plan, iter(range(10**9))

    def run(steps: int = args.steps) -> None:
        nonlocal state
        for _ in range(steps):
            state, metrics = step(state, layout.put_batch(make_batch(plan, next(turn))), catalog)
        jax.block_until_ready(metrics)

    run(4)
    split = plan.splits[0]
    events = np.minimum(split.train_end - split.offsets[:-1], plan.max_history + 1)[plan.users[0]]
    epochs = args.steps * args.batch / len(events)
    return run, epochs, lambda: {"predictions": float((events - 1).sum())}


def ranking(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """Exact ranks of everybody."""
    mesh, facts = make_layout(Config().mesh).mesh, {}
    seen = np.split(work["seen_E"], work["offsets_N"][1:-1])

    def run() -> None:
        ranks = rank(work["users_ND"], work["items_ID"], work["target_N"], seen, mesh=mesh, batch_size=args.batch)
        facts.update(metrics(ranks.rank_N))

    run()
    return run, float(len(seen)), lambda: {name: value for name, value in facts.items() if name != "mrr"}


def main() -> None:
    """Serve one work."""
    parser = argparse.ArgumentParser(description=__doc__)
    works = {fn.__name__: fn for fn in (minilm_step, gpt2_step, encode, sasrec, ranking)}
    parser.add_argument("work", choices=works)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minilm")
    parser.add_argument("--data-root")
    parser.add_argument("--cache")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6, help="of the GPT-2")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=4)
    args = parser.parse_args()
    serve(lambda: works[args.work](dict(np.load(args.file)), args))


if __name__ == "__main__":
    main()
