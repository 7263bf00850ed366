"""Bundles on the Hugging Face hub, or on another server with its API. `Recommender` has both directions as methods.

Only the files of a bundle are uploaded and downloaded, none of which is code. Authentication is huggingface_hub's:
`hf auth login` or the environment variable HF_TOKEN.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.card import model_card
from llmrec_jax.inference.writing import PARTS
from llmrec_jax.progress import muted, shown
from llmrec_jax.version import __version__

CARD = "README.md"
REPO_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


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
    address = upload(loaded.folder, model_card(loaded, repo_id), repo_id, private, revision, endpoint)
    loaded.check_unchanged()
    return address


def upload(folder: Path, card: str, repo_id: str, private: bool, revision: str, endpoint: str | None) -> str:
    """Upload the files of the bundle in `folder` and a model card; see `push_to_hub`."""
    api = HfApi(endpoint=endpoint, library_name="llmrec_jax", library_version=__version__)
    files = sorted(name for name in PARTS if (folder / name).is_file())
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, str(folder / name)) for name in files
    ]
    operations.append(CommitOperationAdd(CARD, card.encode()))
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        stale = (PARTS & set(api.list_repo_files(repo_id, revision=revision))) - set(files)
        operations += [CommitOperationDelete(name) for name in sorted(stale)]
        message = f"Upload a bundle of llmrec_jax {__version__}"
        with _shown(f"uploading to {repo_id}"):
            commit = api.create_commit(repo_id, operations, commit_message=message, revision=revision)
    except Exception as error:  # whatever its HTTP client raises
        raise UserError(f"{repo_id}: the hub refused the upload: {_reason(error)}. Log in with `hf auth login`, "
                        "and check the name and your rights") from error  # fmt: skip
    return str(commit.commit_url)


def locate(source: str | Path, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """The folder of a bundle: `source` itself if it is a folder, else that of a repository on the hub, downloaded
    unless it is in huggingface_hub's cache.

    Raises:
      ValueError: there is neither such a folder nor such a repository, the hub could not provide it, or `revision` is
        given for a folder.
    """
    folder = Path(source).expanduser()
    if folder.exists():
        if revision is not None:
            raise UserError(f"revision={revision!r}: {folder} is a folder, and only a repository has revisions")
        return folder
    if isinstance(source, Path) or not REPO_ID.fullmatch(source):
        raise UserError(f"{source}: no such folder")
    return download(source, revision=revision, endpoint=endpoint)


def download(repo_id: str, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """The folder of a bundle on the hub, downloaded unless it is in huggingface_hub's cache.

    Raises:
      ValueError: the hub could not provide it.
    """
    try:
        with _shown(f"downloading {repo_id}"):
            folder = huggingface_hub.snapshot_download(
                repo_id, revision=revision, endpoint=endpoint, allow_patterns=sorted(PARTS), library_name="llmrec_jax"
            )
    except Exception as error:  # whatever its HTTP client raises
        raise UserError(f"{repo_id}: no such folder, and the hub could not provide this bundle: "
                        f"{_reason(error)}") from error  # fmt: skip
    return Path(folder)


@contextlib.contextmanager
def _shown(doing: str) -> Iterator[None]:
    """Progress lines unless stderr is a terminal, where huggingface_hub shows bars of its own."""
    with muted(sys.stderr.isatty()), shown(doing):
        yield


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
