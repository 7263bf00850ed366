"""A run in stages: each starts from the one before, a finished one is not run again, an interrupted one resumes."""

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

from llmrec_jax.config import Stage
from llmrec_jax.errors import UserError
from llmrec_jax.models import from_pretrained
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train import stages
from llmrec_jax.train.checkpoint import Checkpoints
from tests.train.tiny import metrics_of, tiny_config

TEXTS = Path("stages") / "texts"
STEPS, SAVED = 12, 10


def staged_config():
    config = tiny_config(sources=())
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, kind="gpt2", num_layers=1, dropout=0.1),
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=dataclasses.replace(config.adapt, method="none"),
        optim=dataclasses.replace(config.optim, learning_rate=1e-2),
        train=dataclasses.replace(config.train, eval_every=0, checkpoint_every=2),
        stages=(
            Stage("texts", {"train.objective": "language_model", "train.steps": STEPS, "train.eval_every": STEPS}),
            Stage("target", {}),
        ),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder for the work folders, with a patch: one group of texts is quick to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmrec_jax.data.batches.texts.GROUPS", 1)
        yield tmp_path_factory.mktemp("stages")


@pytest.fixture
def run(root, monkeypatch):
    """Runs the stages but the last in a work folder; gives the arguments of the last and what was printed."""
    calls = []
    monkeypatch.setattr(stages, "train_and_evaluate", lambda *arguments, **more: calls.append((*arguments, more)))

    def run(workdir):
        out = io.StringIO()
        stages.run_stages(staged_config(), workdir, Console(file=out, soft_wrap=True))
        return calls[-1], out.getvalue()

    return run


def test_the_last_stage_starts_from_the_encoder_that_learned_the_texts(root, run):
    (config, workdir, _, more), printed = run(root / "run")
    assert printed.startswith(f"stages: texts ({STEPS} steps), target (8 steps)\n")
    assert (workdir, more["reports"]) == (root / "run", True)
    facts = json.loads((workdir / TEXTS / "perplexity.json").read_text())
    assert facts["perplexity"]["after"] < 0.9 * facts["perplexity"]["before"]
    assert facts["perplexity"]["after"] == pytest.approx(np.exp(-facts["selection"]["value"]))
    assert facts["held_out_texts"] == 22
    experiment = experiment_lib.build(config)
    state = experiment.start(experiment.init_state())
    encoder = from_pretrained(workdir / TEXTS / "encoder")
    jax.tree.map(np.testing.assert_array_equal, state.params["encoder"], nnx.to_pure_dict(nnx.state(encoder)))
    assert experiment.data.text_encoder is None  # the baselines are those of a run without stages


def test_an_interrupted_stage_resumes_and_a_finished_one_is_not_run_again(root, run, tmp_path, monkeypatch):
    straight, workdir = root / "run", tmp_path / "run"
    shutil.copytree(straight, workdir)
    for name in ("encoder/model.safetensors", "perplexity.json", stages.FINISHED):
        (workdir / TEXTS / name).unlink()
    checkpoints = Checkpoints(workdir / TEXTS / "checkpoints")
    checkpoints.drop_after(SAVED)
    checkpoints.close()
    _, printed = run(workdir)
    assert f"resuming at step {SAVED} of {STEPS}\n" in printed
    assert metrics_of(workdir / TEXTS) == metrics_of(straight / TEXTS)
    encoders = [(folder / TEXTS / "encoder" / "model.safetensors").read_bytes() for folder in (straight, workdir)]
    assert encoders[0] == encoders[1]
    monkeypatch.setattr(stages, "train_language_model", None)
    assert f"stage texts: finished in {workdir / TEXTS}\n" in run(workdir)[1]
    (workdir / TEXTS / stages.FINISHED).write_text('{"steps": 8}')  # with a constant rate, steps may be added
    with pytest.raises(UserError, match=f"stage texts is finished with 8 steps in .*, the configuration says {STEPS}"):
        run(workdir)
