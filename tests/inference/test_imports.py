"""Imports of inference: no trainer, no data pipeline, and JAX only when a bundle is loaded."""

import subprocess
import sys

import pytest

from tests.conftest import REPO

PROGRAM = """
import sys, time
from llmrec_jax import Recommender
print(time.process_time())
def brought(): return " ".join(sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
print(brought())
r = Recommender.load(sys.argv[1])
r.recommend(["book-0001"])
r.add_items([{"item_id": "new", "title": "New"}])
print(brought())
print(" ".join(sorted({".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("llmrec_jax.")})))
"""
# The Python packages that the class needs; all of them import in a fraction of a second.
CLASS = {"llmrec_jax", "msgspec", "numpy", "safetensors", "scipy"}
NEVER = {
    *("orbax", "grain", "array_record", "tensorflow_datasets", "transformers", "huggingface_hub", "tyro"),
    *("torch", "tensorflow"),
}


@pytest.fixture(scope="module")
def brought(text_run):
    command = [sys.executable, "-c", PROGRAM, str(text_run[1])]
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    seconds, *lines = result.stdout.splitlines()
    assert float(seconds) < 1.2  # of CPU time, Python's own start included
    return [set(line.split()) for line in lines]


def test_the_class_needs_neither_jax_nor_flax(brought):
    packages = {name for name in brought[0] if not name.startswith(("_", "cython"))}
    assert CLASS <= packages <= CLASS | {"typing_extensions", "charset_normalizer"}


def test_an_answer_needs_no_trainer_and_no_data_pipeline(brought):
    assert {"jax", "flax", "tokenizers"} <= brought[1]
    assert not brought[1] & NEVER
    own = {name.removeprefix("llmrec_jax.") for name in brought[2]}
    below = {"baselines", "blend", "config", "data", "errors", "models", "predictor", "progress", "types", "version"}
    assert own == {"inference", *below}
