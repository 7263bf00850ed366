"""Bundles on the Hugging Face hub, or on another server with its API: `push_to_hub` and `from_pretrained`.

Only files that a bundle consists of are sent and fetched, none of which is code. Authentication is huggingface_hub's:
`hf auth login` or the environment variable HF_TOKEN.
"""

from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from llmrec_jax.errors import UserError
from llmrec_jax.exports.card import model_card
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.recommender import Recommender
from llmrec_jax.inference.writing import PARTS
from llmrec_jax.version import __version__

CARD = "README.md"


def push_to_hub(
    bundle: str | Path, repo_id: str, *, private: bool = True, revision: str = "main", endpoint: str | None = None
) -> str:
    """Upload a bundle with a model card in one commit; returns the commit's address.

    Args:
      bundle: the bundle, or the work folder of a run, whose report the card is written from.
      repo_id: such as `org/name`; created if it does not exist.
      private: of a repository that is created. A bundle holds the ids and titles of all items.
      revision: the branch, which must exist.
      endpoint: of another server; None: HF_ENDPOINT, or the public hub.

    Raises:
      ValueError: the bundle is invalid, or the hub refused.
    """
    loaded = bundle_lib.load(Path(bundle))
    api = HfApi(endpoint=endpoint, library_name="llmrec_jax", library_version=__version__)
    files = sorted(name for name in PARTS if (loaded.folder / name).is_file())
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, str(loaded.folder / name)) for name in files
    ]
    operations.append(CommitOperationAdd(CARD, model_card(loaded, repo_id).encode()))
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        stale = (PARTS & set(api.list_repo_files(repo_id, revision=revision))) - set(files)
        operations += [CommitOperationDelete(name) for name in sorted(stale)]
        message = f"Upload a bundle of llmrec_jax {__version__}"
        commit = api.create_commit(repo_id, operations, commit_message=message, revision=revision)
    except Exception as error:  # whatever its HTTP client raises
        raise UserError(f"{repo_id}: the hub refused the upload: {_reason(error)}. Log in with `hf auth login`, "
                        "and check the name and your rights") from error  # fmt: skip
    loaded.check_unchanged()
    return str(commit.commit_url)


def download(repo_id: str, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """The folder of a bundle on the hub, fetched unless it is in huggingface_hub's cache.

    Raises:
      ValueError: the hub could not provide it.
    """
    try:
        folder = huggingface_hub.snapshot_download(
            repo_id, revision=revision, endpoint=endpoint, allow_patterns=sorted(PARTS), library_name="llmrec_jax"
        )
    except Exception as error:  # whatever its HTTP client raises
        raise UserError(f"{repo_id}: the bundle could not be downloaded from the hub: {_reason(error)}") from error
    return Path(folder)


def from_pretrained(repo_id: str, *, revision: str | None = None, endpoint: str | None = None) -> Recommender:
    """Load a bundle from the hub. Raises ValueError if the hub cannot provide it, or it is not a bundle."""
    return Recommender.load(download(repo_id, revision=revision, endpoint=endpoint))


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
