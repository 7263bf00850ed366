"""Fixtures: runs with untrained models, and their bundles."""

import pytest

from tests.inference.untrained import run_and_bundle


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("text"), "text+id")


@pytest.fixture(scope="session")
def id_run(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("id"), "id", "dann")
