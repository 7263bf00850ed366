"""A run in stages: each starts from the one before, a finished one is not run again, a killed one resumes."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from llmrec_jax import Recommender
from llmrec_jax.config import Stage, in_stages
from llmrec_jax.models import from_pretrained
from llmrec_jax.train import compile_cache
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.metrics import MetricsFile
from llmrec_jax.train.stages import run_stages
from tests.train.tiny import metrics_of, tiny_config

TEXTS = Path("stages") / "texts"


class KilledError(Exception):
    """Stands for a signal that cannot be handled."""


def staged_config(root):
    config = tiny_config(root / "cache", sources=())
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, num_layers=1, dropout=0.1),
        model=dataclasses.replace(config.model, user_tower="mean"),  # quick to compile
        adapt=dataclasses.replace(config.adapt, method="none"),
        optim=dataclasses.replace(config.optim, learning_rate=1e-2),
        train=dataclasses.replace(config.train, steps=4, eval_every=0, checkpoint_every=2),
        stages=(
            Stage("texts", {"train.objective": "language_model", "train.steps": 12, "train.eval_every": 6}),
            Stage("target", {}),
        ),
    )


def run(config, workdir):
    out = io.StringIO()
    run_stages(config, workdir, Console(file=out, soft_wrap=True))
    return out.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="module")
def straight(root):
    """The work folder of a run that nobody stopped, and what it printed."""
    return root / "straight", run(staged_config(root), root / "straight")


def test_the_last_stage_starts_from_the_encoder_that_learned_the_texts(root, straight):
    workdir, printed = straight
    assert printed.startswith("stages: texts (12 steps), target (4 steps)\n")
    facts = json.loads((workdir / TEXTS / "perplexity.json").read_text())
    assert facts["perplexity"]["after"] < 0.8 * facts["perplexity"]["before"]
    assert facts["held_out_texts"] == 22
    assert facts["perplexity"]["after"] == pytest.approx(np.exp(-facts["selection"]["value"]))
    last = in_stages(staged_config(root), workdir)[-1].config
    experiment = experiment_lib.build(last)
    state = experiment.start(jax.jit(experiment.init_state)())
    encoder = from_pretrained(workdir / TEXTS / "encoder")
    jax.tree.map(np.testing.assert_array_equal, state.params["encoder"], nnx.to_pure_dict(nnx.state(encoder)))
    assert experiment.data.text_encoder is None  # the baselines are those of a run without stages
    assert not (workdir / TEXTS / "report.json").exists()  # test events are ranked once, at the end
    assert json.loads((workdir / "report.json").read_text())["regime"] == "full"
    assert Recommender.load(workdir / "bundle").recommend(["book-0001"], k=1)


def test_a_run_killed_in_each_stage_equals_the_straight_one(root, straight, monkeypatch):
    config, workdir, write = staged_config(root), root / "killed", MetricsFile.write
    for folder in (Path(), TEXTS):  # nothing is compiled again
        shutil.copytree(straight[0] / folder / compile_cache.FOLDER, workdir / folder / compile_cache.FOLDER)

    def killed_at(step):
        def write_and_die(self, number, metrics):
            write(self, number, metrics)
            if number == step:
                raise KilledError

        monkeypatch.setattr(MetricsFile, "write", write_and_die)
        with pytest.raises(KilledError):
            run(config, workdir)
        monkeypatch.setattr(MetricsFile, "write", write)

    killed_at(11)
    assert not (workdir / "config.json").exists()
    killed_at(3)  # the first stage goes on from step 10
    printed = run(config, workdir)
    assert f"stage texts: finished in {workdir / TEXTS}\n" in printed
    assert "resuming at step 2 of 4\n" in printed
    for folder in (Path(), TEXTS):
        assert metrics_of(workdir / folder) == metrics_of(straight[0] / folder)
    expected, found = (json.loads((folder / "report.json").read_text()) for folder in (straight[0], workdir))
    assert found["results"] == expected["results"]
