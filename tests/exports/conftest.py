"""Fixtures: an untrained run's bundle, and variants of it with other networks."""

import pytest

from llmrec_jax.inference import bundle as bundle_lib
from tests.inference.untrained import run_and_bundle


@pytest.fixture(scope="session")
def run_and_folder(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("exports"), "text+id")


@pytest.fixture(scope="session")
def folder(run_and_folder):
    return run_and_folder[1]


@pytest.fixture(scope="session")
def bundle(folder):
    return bundle_lib.load(folder)
