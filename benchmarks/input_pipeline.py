"""Throughput of the input pipeline: `python benchmarks/input_pipeline.py [CONFIG.py] [--data-root DIR] [--json]`.

The pipeline alone, without model or device. A batch holds indices, since the texts are on the devices; tokens are those
of its distinct items, without padding (for a frozen encoder: those it would encode). The rate is set against what an
H100 could take: twelve layers of width 768 at 128 tokens a text, trained at 55 % of the bfloat16 peak, are 1.04M
tokens/s.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import numpy as np

from benchmarks.report import show
from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.data.batches.batch import BatchPlan, make_batch
from llmrec_jax.data.batches.pipeline import batches, by_length
from llmrec_jax.data.corpus import Corpus, load_corpus
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tokenizer import load_tokenizer, train_tokenizer
from llmrec_jax.models.fetch import fetch

WARMUP = 20
H100 = 1.04e6  # tokens/s, see above


def measure(config: Config, num_batches: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    corpus = load_corpus(config.data, config.train.batch_size, config.seed)
    tokens_I = _tokens(config, corpus)
    plan = by_length(corpus.plan, tokens_I)
    wall, cpu, made = _drain(plan, num_batches)
    alone = [_seconds(plan, step) for step in range(WARMUP + num_batches)][WARMUP:]

    tokens = sum(int(tokens_I[ids[mask]].sum()) for batch in made for ids, mask in batch.items)
    real_steps = sum(int((batch.segment_RS > 0).sum()) for batch in made)
    size = sum(leaf.nbytes for batch in made for leaf in jax.tree.leaves(batch))
    rows: list[tuple[str, float, str]] = [
        ("batches", num_batches / wall, "1/s"),
        ("histories", num_batches * plan.batch_size / wall, "1/s"),
        ("real tokens", tokens / wall, "1/s"),
        ("padding among history steps", 1 - real_steps / sum(batch.segment_RS.size for batch in made), "share"),
        ("the same, a history a row", 1 - real_steps / (len(made) * plan.batch_size * plan.max_history), "share"),
        ("batch arrays", 1e-6 * size / wall, "MB/s"),
        ("one batch in one thread, p50", 1e3 * float(np.percentile(alone, 50)), "ms"),
        ("one batch in one thread, p90", 1e3 * float(np.percentile(alone, 90)), "ms"),
        ("cores kept busy", cpu / wall, "cores"),
        ("real tokens per busy core", tokens / cpu, "1/s"),
        ("real tokens / H100 at 55 % of its peak", tokens / wall / H100, "x"),
    ]
    return [{"work": work, "value": value, "unit": unit} for work, value, unit in rows]


def _tokens(config: Config, corpus: Corpus) -> np.ndarray:
    """Tokens of each item's text, int [I]."""
    texts = corpus.joint.texts
    if config.encoder.pretrained is None:
        tokenizer = train_tokenizer(texts, config.encoder.kind, config.data.vocab_size)
    else:
        tokenizer = load_tokenizer(fetch(config.encoder.pretrained))
    return np.diff(token_table(texts, tokenizer, config.data.max_tokens, config.data.cache_dir).offsets)


def _drain(plan: BatchPlan, num_batches: int) -> tuple[float, float, list[Any]]:
    """Seconds on the wall and of all cores that the batches after the warm-up take through the iterator, and those."""
    iterator = batches(plan, WARMUP + num_batches)
    for _ in range(WARMUP):
        next(iterator)
    wall, cpu = time.perf_counter(), time.process_time()
    made = list(iterator)
    return time.perf_counter() - wall, time.process_time() - cpu, made


def _seconds(plan: BatchPlan, step: int) -> float:
    start = time.perf_counter()
    make_batch(plan, step)
    return time.perf_counter() - start


def main() -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/quickstart.py"))
    parser.add_argument("--data-root", help="the folder of the domain folders, where the configuration names none")
    parser.add_argument("--batch-size", type=int, help="rows of a batch, instead of the configuration's")
    parser.add_argument("--batches", type=int, default=500, help="batches on the clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    config = config_lib.load(args.config)
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, root=args.data_root or config.data.root),
        train=dataclasses.replace(config.train, batch_size=args.batch_size or config.train.batch_size),
    )
    rows = measure(config, args.batches)
    show(rows, f"{args.config}, {config.train.batch_size} rows", as_json=args.json, config=str(args.config))


if __name__ == "__main__":
    main()
