"""An app over the bundle of an untrained run, and a client that keeps its lifespan open."""

import shutil

import pytest
from starlette.testclient import TestClient

from llmrec_jax.server import Limits, create_app
from tests.inference.untrained import run_and_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("served"), "text+id")[1]


@pytest.fixture(scope="session")
def app(bundle):
    return create_app({"shop": bundle}, Limits(batch=4))


@pytest.fixture(scope="session")
def client(app):
    with TestClient(app) as client:
        yield client


@pytest.fixture
def own_bundle(bundle, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(bundle, tmp_path / "bundle")
