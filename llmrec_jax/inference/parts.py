"""The untrained parts of an answer in a bundle: their channels, the readers of new items, and the weights of all parts.

parts.json          weights by part; the facts of each channel; the corners of the calibration, if there is one
parts.safetensors   the arrays of the channels, sparse ones as data, indices and indptr
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import safetensors.numpy
import scipy.sparse

from llmrec_jax.baselines.channel import Channel, Matrix
from llmrec_jax.baselines.readers import Fitted, read_reader, reader_arrays, reader_facts
from llmrec_jax.blend.calibration import Calibration
from llmrec_jax.errors import UserError

FILES = ("parts.json", "parts.safetensors")


class Parts(NamedTuple):
    """What a bundle holds of an answer."""

    weights: dict[str, float]  # by part: those of `channels`, and `model`
    channels: dict[str, list[Fitted]]  # by part, over the target's items
    calibration: Calibration | None = None  # of the scores


def write(folder: Path, parts: Parts) -> None:
    """Write both files. A table that several channels share is written once."""
    arrays: dict[str, np.ndarray] = {}
    name_of: dict[int, str] = {}

    def put(name: str, table: Matrix) -> str:
        if id(table) not in name_of:
            _put(arrays, name, table)
            name_of[id(table)] = name
        return name_of[id(table)]

    channels = []
    for part, found in parts.channels.items():
        for number, (channel, reader) in enumerate(found):
            name = f"{part}.{number}"
            arrays |= {f"{name}.reader.{key}": array for key, array in reader_arrays(reader).items()}
            as_item = None if channel.as_item_IV is None else put(f"{name}.as_item", channel.as_item_IV)
            stored = _StoredChannel(
                part=part,
                name=channel.name,
                as_history=put(f"{name}.as_history", channel.as_history_IV),
                as_item=as_item,
                decay=channel.decay,
                num_last=channel.num_last,
                normalize=channel.normalize,
                scale=channel.scale,
                reader=reader_facts(reader),
                reader_arrays=f"{name}.reader.",
            )
            channels.append(stored)
    corners = parts.calibration and tuple(zip(*(array.tolist() for array in parts.calibration), strict=True))
    content = msgspec.json.encode(_Facts(parts.weights, channels, corners))
    (folder / "parts.json").write_bytes(content + b"\n")
    (folder / "parts.safetensors").write_bytes(safetensors.numpy.save(arrays))


def load(folder: Path) -> Parts:
    """Read both files. Raises ValueError, which names the file, if they are invalid or do not fit each other."""
    facts = _facts(folder)
    path = folder / "parts.safetensors"
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        channels: dict[str, list[Fitted]] = {}
        table = functools.cache(lambda name: _get(arrays, name))
        for stored in facts.channels:
            channels.setdefault(stored.part, []).append(_channel(stored, table, arrays))
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as part of a bundle: {error}") from error
    return Parts(facts.weights, channels, _calibration(facts))


def calibration(folder: Path) -> Calibration | None:
    """That of a bundle, if it has one. Raises ValueError as `load`."""
    return _calibration(_facts(folder))


class _StoredChannel(msgspec.Struct, frozen=True):
    part: str
    name: str
    as_history: str  # name of the table
    as_item: str | None
    decay: float
    num_last: int
    normalize: Literal["l2", "sum"]
    scale: float
    reader: dict[str, Any]
    reader_arrays: str  # prefix of the names of the reader's arrays


class _Facts(msgspec.Struct, frozen=True):
    """`parts.json`."""

    weights: dict[str, float]
    channels: list[_StoredChannel]
    calibration: tuple[tuple[float, float], ...] | None = None  # score and probability


def _facts(folder: Path) -> _Facts:
    path = folder / "parts.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Facts)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: cannot be read as part of a bundle: {error}") from error


def _calibration(facts: _Facts) -> Calibration | None:
    return Calibration(*np.array(facts.calibration, np.float64).T) if facts.calibration else None


def _channel(stored: _StoredChannel, table: Callable[[str], Matrix], arrays: Mapping[str, np.ndarray]) -> Fitted:
    as_item_IV = None if stored.as_item is None else table(stored.as_item)
    sizes = stored.decay, stored.num_last, stored.normalize, stored.scale
    prefix = stored.reader_arrays
    of_reader = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    channel = Channel(stored.name, table(stored.as_history), as_item_IV, *sizes)
    return Fitted(channel, read_reader(stored.reader, of_reader))


def _put(arrays: dict[str, np.ndarray], name: str, matrix: Matrix) -> None:
    if scipy.sparse.issparse(matrix):
        csr = matrix.tocsr()
        arrays |= {f"{name}.data": csr.data, f"{name}.indices": csr.indices, f"{name}.indptr": csr.indptr}
        arrays[f"{name}.shape"] = np.array(csr.shape, np.int64)
    else:
        arrays[name] = np.ascontiguousarray(matrix)


def _get(arrays: Mapping[str, np.ndarray], name: str) -> Matrix:
    if name in arrays:
        return arrays[name]
    parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return scipy.sparse.csr_matrix(parts, shape=tuple(arrays[f"{name}.shape"]))
