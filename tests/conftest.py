"""What every test runs under: one CPU that looks like eight devices, caches that the processes of a session share, and
no silent rank promotion.

With LLMREC_TEST_PLATFORM=cuda (or tpu) the tests run on that platform's devices; those that need eight fail on fewer.
"""

import atexit
import gc
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

PLATFORM = os.environ.get("LLMREC_TEST_PLATFORM", "cpu")
HAS_FUSION_EMITTERS_FLAG = importlib.metadata.version("jaxlib") < "0.11"  # later ones refuse it
ON_CPU = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": " ".join(
        [
            "--xla_force_host_platform_device_count=8",
            # Tests compile much and compute little: without these passes they take a quarter of the time. To split a
            # module between cores takes an eighth more, and both cores are busy.
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
            "--xla_cpu_parallel_codegen_split_count=1",
            "--xla_cpu_use_fusion_emitters=false" if HAS_FUSION_EMITTERS_FLAG else "",
            os.environ.get("XLA_FLAGS", ""),
        ]
    ),
}
ELSEWHERE = {
    "JAX_PLATFORMS": f"{PLATFORM},cpu",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # the tests compare with float32 on a CPU
}
# The threads of NumPy's BLAS wait in a loop for one another, while other test processes need the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.update(ON_CPU if PLATFORM == "cpu" else ELSEWHERE)
# A folder for what the processes of a session share: the workers of pytest-xdist and the runs of train.py inherit it.
if "LLMREC_TEST_FOLDER" not in os.environ:
    os.environ["LLMREC_TEST_FOLDER"] = tempfile.mkdtemp(prefix="llmrec-tests-")
    atexit.register(shutil.rmtree, os.environ["LLMREC_TEST_FOLDER"], ignore_errors=True)
DATA_CACHE = Path(os.environ["LLMREC_TEST_FOLDER"]) / "data"  # a `data.cache_dir`
# Each program is compiled once. JAX_COMPILATION_CACHE_DIR=FOLDER keeps the programs for the next session.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(os.environ["LLMREC_TEST_FOLDER"]) / "programs"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Tracing creates many objects that stay; with the default thresholds Python looks through them for a fifth of the time.
gc.set_threshold(100_000, 50, 100)

import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src.lru_cache import LRUCache  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


def put_whole(cache: LRUCache, key: str, value: bytes) -> None:
    """As JAX's, which warns where it reads a file that another process is still writing; a rename is atomic."""
    part = Path(str(cache.path), f"{key}.{os.getpid()}")
    part.write_bytes(value)
    part.replace(part.with_name(f"{key}-cache"))


LRUCache.put = put_whole

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that have slow tests: `--dist loadfile` would leave them to one worker at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def shown_work(monkeypatch) -> list[str]:
    """The work whose progress is shown if it takes long enough, in its order."""
    works: list[str] = []
    monkeypatch.setattr("llmrec_jax.progress._watch", lambda meter, end, stream: works.append(meter.doing))
    return works


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real domains beside the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A Hugging Face folder of the real MiniLM: $LLMREC_MINILM, or fetched once into .cache."""
    if "LLMREC_MINILM" in os.environ:
        return Path(os.environ["LLMREC_MINILM"])
    folder, tool = REPO / ".cache" / "minilm", SHARED / "tools" / "get_minilm"
    if folder.is_dir():
        return folder
    if not tool.exists():
        pytest.skip(f"no MiniLM: LLMREC_MINILM is not set and {tool} is not there")
    folder.parent.mkdir(exist_ok=True)
    fetched = Path(tempfile.mkdtemp(dir=folder.parent))
    result = subprocess.run([tool, fetched], capture_output=True, text=True)
    if result.returncode:
        shutil.rmtree(fetched)
        pytest.skip(f"no MiniLM: {tool} failed: {result.stderr.strip()[-300:]}")
    try:
        fetched.rename(folder)
    except OSError:  # another test process was faster
        shutil.rmtree(fetched)
    return folder
