"""The same works in PyTorch, as fast as it runs them: `python torch_side.py WORK FILE.npz [--minilm DIR] [...]`.

Runs in a separate environment (torch, transformers, numpy) and imports nothing of llmrec_jax. Settings: the same
threads, SDPA attention, fused AdamW, `inference_mode`, bfloat16 by autocast where that is faster, TF32 on a GPU (as
XLA), no dropout on attention weights (which would take SDPA off its fast path), texts in the order and padding that
its users choose, logits only where there is a target, and with `--compile` the model under `torch.compile`.
"""

import argparse
import functools
import itertools
import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, GPT2Config, GPT2Model
from turns import serve

TEMPERATURE = 0.05


def on_device(array: np.ndarray, args: argparse.Namespace) -> Any:
    """The array as a tensor on the device."""
    return torch.from_numpy(array).to(args.device)


def padded(work: dict[str, np.ndarray], rows: np.ndarray, args: argparse.Namespace) -> tuple[Any, Any]:
    """Token ids and mask of some texts, padded to the longest of them or to `--length`."""
    ids_T, offsets_I = work["ids_T"], work["offsets_I"]
    lengths = offsets_I[rows + 1] - offsets_I[rows]
    index = np.arange(args.length or int(lengths.max()))[None]
    mask = index < lengths[:, None]
    ids = np.where(mask, ids_T[np.minimum(offsets_I[rows][:, None] + index, len(ids_T) - 1)], 0)
    return on_device(ids.astype(np.int64), args), on_device(mask.astype(np.int64), args)


def mean_pooled(hidden: Any, mask: Any) -> Any:
    """The mean of the real tokens' vectors."""
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def optimizer_step(model: nn.Module, optimizer: Any, loss: Any) -> None:
    """Backward, clip, AdamW."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def adamw(model: nn.Module) -> Any:
    """PyTorch's fastest AdamW."""
    return torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)


def ready(model: nn.Module, args: argparse.Namespace, dynamic: bool = False) -> Any:
    """The model on the device, with `--compile` under `torch.compile`; `dynamic` if batches differ in length."""
    model = model.to(args.device)
    return torch.compile(model, dynamic=dynamic) if args.compile else model


def minilm_step(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """In-batch softmax over the batch's distinct items, of which each is encoded once."""
    model = AutoModel.from_pretrained(args.minilm, attn_implementation="sdpa", attention_probs_dropout_prob=0.0).train()
    model = ready(model, args, dynamic=args.length is None)
    optimizer, turn, losses = adamw(model), iter(range(10**9)), []
    batches = [np.unique(pairs, return_inverse=True) for pairs in work["pairs_BP2"]]

    def run() -> None:
        items, place = batches[next(turn) % len(batches)]
        query, target = on_device(place.reshape(-1, 2), args).unbind(1)
        ids, mask = padded(work, items, args)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bfloat16):
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = F.normalize(mean_pooled(hidden.float(), mask), dim=-1)
        loss = F.cross_entropy(vectors[query] @ vectors.T / TEMPERATURE, target)
        optimizer_step(model, optimizer, loss)
        losses.append(loss.item())

    for _ in range(args.warmup):
        run()
    return run, float(np.mean([len(items) for items, _ in batches])), lambda: {"loss": losses[0]}


def gpt2_step(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """The first half of the texts must find its partner in the second."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=args.layers, attn_pdrop=0.0, attn_implementation="sdpa")
    model, ids = ready(GPT2Model(config).train(), args), on_device(work["ids_BL"].astype(np.int64), args)
    optimizer, half = adamw(model), len(ids) // 2

    def run() -> None:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bfloat16):
            hidden = model(input_ids=ids).last_hidden_state
        vectors = F.normalize(hidden.float().mean(1), dim=-1)
        scores = vectors[:half] @ vectors[half:].T / TEMPERATURE
        optimizer_step(model, optimizer, F.cross_entropy(scores, torch.arange(half, device=args.device)))

    for _ in range(args.warmup):
        run()
    return run, 1.0, lambda: {"parameters": sum(x.numel() for x in model.parameters())}


def encode(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """Sorted by length, as sentence-transformers does; with `--bfloat16` the weights too."""
    dtype, batch = torch.bfloat16 if args.bfloat16 else torch.float32, args.batch
    model = AutoModel.from_pretrained(args.minilm, attn_implementation="sdpa").eval().to(dtype)
    model = ready(model, args, dynamic=True)
    order = np.argsort(-np.diff(work["offsets_I"]), kind="stable")
    vectors = np.zeros((len(order), model.config.hidden_size), np.float32)

    @torch.inference_mode()
    def run(stop: int | None = None) -> None:
        for start in range(0, stop or len(order), batch):
            rows = order[start : start + batch]
            ids, mask = padded(work, rows, args)
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors[rows] = mean_pooled(hidden.float(), mask).cpu().numpy()

    run(10 * batch)
    return run, float(len(order)), lambda: {"norm": float(np.linalg.norm(vectors, axis=1).mean())}


class Block(nn.Module):
    """A causal pre-LN block, as GPT-2's."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        """[B, S, D] -> [B, S, D]."""
        drop = functools.partial(F.dropout, p=self.dropout, training=self.training)
        heads = (*x.shape[:2], self.heads, -1)
        query, key, value = (part.reshape(heads).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)  # padding is on the right
        x = x + drop(self.out(attended.transpose(1, 2).reshape(x.shape)))
        return x + drop(self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh")))


class SasRec(nn.Module):
    """Item ids [B, S] -> user vectors [B, S, D]; a score is the cosine to an item over the temperature."""

    def __init__(self, num_items: int, width: int = 64, layers: int = 2, heads: int = 2, dropout: float = 0.2):
        super().__init__()
        self.dropout = dropout
        self.items, self.positions = nn.Embedding(num_items, width), nn.Embedding(50, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Any) -> Any:
        """A vector after every step."""
        x = self.items(items) + self.positions.weight[: items.shape[1]]
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.norm(x), dim=-1)


def sasrec(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """A part of an epoch over the histories; every position a target, or (`--prefixes`) one row per prefix."""
    torch.manual_seed(0)
    items_E, offsets = work["items_E"].astype(np.int64), work["offsets_N"]
    model = ready(SasRec(int(work["num_items"])).train(), args, dynamic=True)
    optimizer, rng = adamw(model), np.random.default_rng(0)
    if args.prefixes:  # a row: the events before position `end` of a user
        ends = np.concatenate([np.arange(a + 1, b) for a, b in itertools.pairwise(offsets)])
        starts = np.repeat(offsets[:-1], np.diff(offsets) - 1)
    else:
        starts, ends = offsets[:-1], offsets[1:] - 1
    starts = np.maximum(starts, ends - 50)
    order, batch = rng.permutation(len(ends)), args.batch

    def run(first: int = 0) -> None:
        for begin in range(first, args.steps * batch, batch):
            rows = order[begin : begin + batch]
            lengths = ends[rows] - starts[rows]
            index = np.arange(int(lengths.max()))[None]
            mask = index < lengths[:, None]
            place = np.minimum(starts[rows][:, None] + index, len(items_E) - 2)
            with torch.autocast(args.device, torch.bfloat16, enabled=args.bfloat16):
                users = model(on_device(items_E[place] * mask, args)).flatten(0, 1)
            if args.prefixes:
                step, target = np.arange(len(rows)) * mask.shape[1] + lengths - 1, items_E[ends[rows]]
            else:
                step, target = np.flatnonzero(mask), items_E[place + 1][mask]
            users = users[on_device(step, args)]
            scores = users @ F.normalize(model.items.weight, dim=-1).T / TEMPERATURE
            optimizer_step(model, optimizer, F.cross_entropy(scores, on_device(target, args)))

    run((args.steps - 2) * batch)
    predictions = len(ends) if args.prefixes else (ends - starts).sum()
    return run, args.steps * batch / len(ends), lambda: {"predictions": float(predictions)}


def ranking(work: dict[str, np.ndarray], args: argparse.Namespace) -> Any:
    """Scores and `topk` in batches of users; the metrics from where the target stands among the first 50."""
    users, items = on_device(work["users_ND"], args), on_device(work["items_ID"], args)
    target, seen, lengths = (on_device(x.astype(np.int64), args) for x in (
        work["target_N"], work["seen_E"], np.diff(work["offsets_N"])
    ))  # fmt: skip
    offsets = work["offsets_N"].tolist()
    facts: dict[str, float] = {}

    @torch.inference_mode()
    def run() -> None:
        ranks = []
        for start in range(0, len(users), args.batch):
            end = min(start + args.batch, len(users))
            scores = users[start:end] @ items.T
            user = torch.arange(end - start, device=args.device)
            num_seen = offsets[end] - offsets[start]
            rows = torch.repeat_interleave(user, lengths[start:end], output_size=num_seen)
            wanted = scores[user, target[start:end]].clone()
            scores[rows, seen[offsets[start] : offsets[end]]] = -torch.inf
            scores[user, target[start:end]] = wanted
            best = scores.topk(50, dim=1).indices
            hit = best == target[start:end, None]
            ranks.append(torch.where(hit.any(1), hit.float().argmax(1) + 1, 10**9))
        rank = torch.cat(ranks).double()
        for k in (10, 50):
            facts[f"recall@{k}"] = (rank <= k).double().mean().item()
            facts[f"ndcg@{k}"] = torch.where(rank <= k, 1 / torch.log2(1 + rank), 0.0).mean().item()

    run()
    return run, float(len(users)), lambda: facts


def synchronized(work: tuple[Any, float, Any], args: argparse.Namespace) -> tuple[Any, float, Any]:
    """The work; on a GPU a run ends when the device has done it."""
    run, units, facts = work

    def run_and_wait() -> None:
        run()
        torch.accelerator.synchronize()

    return (run if args.device == "cpu" else run_and_wait), units, facts


def main() -> None:
    """Serve one work."""
    parser = argparse.ArgumentParser(description=__doc__)
    works = {fn.__name__: fn for fn in (minilm_step, gpt2_step, encode, sasrec, ranking)}
    parser.add_argument("work", choices=works)
    parser.add_argument("file")
    parser.add_argument("--minilm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--length", type=int, help="pad every text to this many tokens")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true", help="run the model under torch.compile")
    parser.add_argument("--prefixes", action="store_true")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6, help="of the GPT-2")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    # Ranking needs exact scores, here as there.
    torch.set_float32_matmul_precision("highest" if args.work == "ranking" else "high")
    serve(lambda: synchronized(works[args.work](dict(np.load(args.file)), args), args))


if __name__ == "__main__":
    main()
