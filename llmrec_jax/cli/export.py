"""Commands that write a bundle in other formats or upload it: `export` and `push`."""

import json as json_lib
from pathlib import Path
from typing import Literal

import tyro

from llmrec_jax.cli.printing import Folder


def export(
    bundle: Folder,
    to: Path,
    format: Literal["hf", "jax", "onnx", "numpy", "browser"],
    int8: bool = False,
    json: bool = False,
) -> int:
    """Export a bundle for other programs.

    Example: llmrec export runs/my_shop --to runs/my_shop/numpy --format numpy

    Args:
      bundle: A bundle, or the work folder of its run.
      to: The folder to write: a new or empty one, or one that holds an export, which is replaced.
      format: hf: the text encoder, for transformers and sentence-transformers.
        jax: scorer and text encoder as programs of jax.export, for CPU, CUDA and TPU.
        onnx: scorer and text encoder as ONNX graphs; needs pip install 'llmrec_jax[onnx]'.
        numpy: a recommender that needs Python and NumPy only.
        browser: a static page that recommends without a server.
      int8: Store item vectors as int8, a quarter of the size.
      json: Print one JSON object.
    """
    from llmrec_jax.exports.export import MARK
    from llmrec_jax.exports.export import export as write
    from llmrec_jax.progress import shown

    with shown(f"exporting to {to}"):
        folder = write(bundle, to, format, int8=int8)
    facts = json_lib.loads((folder / MARK).read_text("utf-8"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if json:
        print(json_lib.dumps(facts | {"folder": str(folder), "bytes": size}))
    else:
        print(f"{folder}: {', '.join(facts['files'])} ({size / 1e6:,.1f} MB)")
    return 0


def push(bundle: Folder, repo: tyro.conf.Positional[str], public: bool = False, json: bool = False) -> int:
    """Upload a bundle to the Hugging Face hub, with a model card written from the run's report.

    Example: llmrec push runs/my_shop my-name/my-shop

    Args:
      bundle: A bundle, or the work folder of its run.
      repo: The repository, such as my-name/my-shop; created, private, if it does not exist.
      public: Create it public. A bundle holds the ids and titles of all items.
      json: Print one JSON object.
    """
    from llmrec_jax.inference.hub import push_to_hub

    address = push_to_hub(bundle, repo, private=not public)
    print(json_lib.dumps({"repo": repo, "commit": address}) if json else address)
    return 0
