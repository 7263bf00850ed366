"""Checks of the machine: versions, devices, disk, clock, caches. They need no configuration and change nothing."""

import importlib.metadata
import os
import platform
import shutil
import stat
import tempfile
import time
from pathlib import Path

import jax
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from llmrec_jax.tuning.findings import Finding, size

PACKAGE = "llmrec_jax"
LEAST_DISK = 5e9  # bytes; a small run with MiniLM keeps about one
RELEASED = 1_767_225_600  # 2026-01-01; a clock before this is wrong
MOST_SKEW = 2.0  # seconds between this machine's clock and the file system's


def versions() -> list[Finding]:
    """Python and the required packages against the supported ranges, and which extras are installed."""
    metadata = importlib.metadata.metadata(PACKAGE)
    needed = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or []]
    wrong, found = [], {"python": platform.python_version()}
    if metadata["Requires-Python"] and found["python"] not in SpecifierSet(metadata["Requires-Python"]):
        wrong.append(f"python {found['python']} (supported: {metadata['Requires-Python']})")
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        found[requirement.name] = version or "missing"
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {found[requirement.name]} (supported: {requirement.specifier or 'any'})")
    extras = {extra: _has_extra(PACKAGE, extra) for extra in metadata.get_all("Provides-Extra") or []}
    facts = {"packages": found, "extras": extras}
    if wrong:
        fix = f"pip install --upgrade {PACKAGE}, in a new environment"
        return [Finding("versions", "problem", f"not supported: {'; '.join(wrong)}", fix, facts)]
    installed = ", ".join(name for name, is_there in extras.items() if is_there) or "none"
    text = f"Python {found['python']}, jax {found['jax']}; all {len(found) - 1} packages are in their supported ranges"
    return [Finding("versions", "ok", f"{text}; extras: {installed}", None, facts)]


def _has_extra(package: str, extra: str) -> bool:
    """Whether everything that an extra adds is installed, extras of other packages included."""
    for requirement in map(Requirement, importlib.metadata.requires(package) or []):
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        if _version(requirement.name) is None or not all(_has_extra(requirement.name, e) for e in requirement.extras):
            return False
    return True


def devices() -> list[Finding]:
    """The devices that JAX uses, and accelerators that it does not."""
    found, backend = jax.devices(), jax.default_backend()
    kinds = sorted({device.device_kind for device in found})
    facts = {"backend": backend, "count": len(found), "kinds": kinds, "processes": jax.process_count(),
             "cores": os.cpu_count()}  # fmt: skip
    memory = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    limits = [limit for limit in memory if limit]
    room = f", {size(min(limits))} for JAX on each" if limits else ""
    text = f"{len(found)} x {', '.join(kinds)} ({backend}){room}; {os.cpu_count()} CPU cores"
    unused = None
    if backend == "cpu" and (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        unused = "an Nvidia GPU", f"pip install '{PACKAGE}[cuda]'; then check that JAX_PLATFORMS is not set to cpu"
    elif backend == "cpu" and any(Path("/dev").glob("accel[0-9]*")):
        unused = "a TPU", f"pip install '{PACKAGE}[tpu]'; then check that JAX_PLATFORMS is not set to cpu"
    if unused:
        text = f"{text}; JAX does not use {unused[0]} of this machine"
        return [Finding("devices", "problem", text, unused[1], facts)]
    return [Finding("devices", "ok", text, None, facts)]


def disk(folder: Path) -> list[Finding]:
    """Free space where a run writes."""
    usage = shutil.disk_usage(_existing(folder))
    facts = {"free": usage.free, "total": usage.total}
    text = f"{size(usage.free)} free of {size(usage.total)} at {folder}"
    if usage.free < LEAST_DISK:
        fix = "free some, or choose another --workdir: a run that finds the disk full stops"
        return [Finding("disk", "warning", text, fix, facts)]
    return [Finding("disk", "ok", text, None, facts)]


def clock(folder: Path) -> list[Finding]:
    """Whether this machine's clock is plausible and agrees with that of the file system."""
    place = _existing(folder)
    fix = "synchronize the clock (timedatectl set-ntp true): a temporal split and locks rely on it"
    if (now := time.time()) < RELEASED:
        return [Finding("clock", "problem", f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}", fix)]
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".llmrec-clock-") as file:
            before = time.time()
            file.write(b"x")
            file.flush()
            skew = os.fstat(file.fileno()).st_mtime - before
    except OSError as error:
        return [Finding("clock", "problem", f"{place} is not writable: {error.strerror}", "choose another --workdir")]
    if abs(skew) > MOST_SKEW:
        return [Finding("clock", "warning", f"{place} is {skew:+.1f} s from this machine's clock", fix, {"skew": skew})]
    return [Finding("clock", "ok", f"agrees with that of {place} to {abs(skew):.2f} s", None, {"skew": skew})]


def caches(data_cache: Path) -> list[Finding]:
    """The caches of prepared data and text vectors, of encoders, and of compiled programs."""
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub")
    wheels = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "llmrec_jax" / "encoders"
    found = [_cache("data cache", data_cache, "set --data.cache_dir to a folder that you can write to")]
    found += [_cache("encoder cache", path.expanduser(), f"make it writable, or set {variable}")
              for path, variable in ((hub, "HF_HOME"), (wheels, "XDG_CACHE_HOME"))]  # fmt: skip
    compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if compiled is None:
        text = "compiled programs are kept in the work folder of each run"
        found.append(Finding("compile cache", "ok", text, None, {"folder": None}))
    elif Path(compiled).is_dir() and Path(compiled).stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"{compiled} is writable by other users, who could run code in your processes through it"
        found.append(Finding("compile cache", "problem", text, f"chmod 700 {compiled}", {"folder": compiled}))
    else:
        found.append(_cache("compile cache", Path(compiled), "set JAX_COMPILATION_CACHE_DIR to another folder"))
    return found


def _cache(name: str, folder: Path, fix: str) -> Finding:
    place, used = _existing(folder), 0
    if folder.is_dir():
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    facts = {"folder": str(folder), "bytes": used}
    if not os.access(place, os.W_OK):
        return Finding(name, "problem", f"{folder}: {place} is not writable", fix, facts)
    return Finding(name, "ok", f"{folder}: {size(used) if folder.is_dir() else 'not made yet'}", None, facts)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
