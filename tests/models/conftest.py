"""Fixtures: variants of the golden encoder folders."""

import json

import pytest
from safetensors.numpy import load_file, save_file

from tests.models.golden_folders import GOLDEN


@pytest.fixture
def edit(tmp_path):
    """Copy a golden folder with its tensors passed through a function, its config updated."""

    def copy(kind, tensors=lambda tensors: tensors, **config):
        folder = tmp_path / "edited"
        folder.mkdir()
        save_file(tensors(load_file(GOLDEN / kind / "model.safetensors")), folder / "model.safetensors")
        config = json.loads((GOLDEN / kind / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return copy
