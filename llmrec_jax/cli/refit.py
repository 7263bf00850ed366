"""The command `refit`: trains a finished run again, on training and validation events."""

import dataclasses
from pathlib import Path

from llmrec_jax.cli.printing import Folder


def refit(workdir: Folder, to: Path | None = None) -> int:
    """Train a finished run again on training and validation events, for deployment.

    The number of steps is the step that the run selected, and the weights of the answer's parts are those of the run.
    The newest events matter most, so this is the model to deploy. Its test metrics are not comparable with those of
    papers, whose models see training events only.

    Example: llmrec refit runs/my_shop

    Args:
      workdir: The work folder of the finished run.
      to: The new work folder; by default the name of the run's plus -refit.
    """
    from llmrec_jax.cli.training import run
    from llmrec_jax.data.protocol import LAST_STEP
    from llmrec_jax.evaluate.report import read_report
    from llmrec_jax.train.interrupts import Interrupts
    from llmrec_jax.train.workdir import read_config

    config, report = read_config(workdir), read_report(workdir)
    # A run that selected its start, step 0, is made again with one step, whose rate is 0 if there is a warm-up.
    steps = max(1, report["selection"].get("step", config.train.steps))
    refitted = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, train_on="train+valid"),
        answer=dataclasses.replace(config.answer, weights_from=str(workdir)),
        train=dataclasses.replace(config.train, steps=steps, selection=LAST_STEP, eval_every=0),
    )
    with Interrupts() as interrupts:
        run(refitted, to or workdir.with_name(f"{workdir.name}-refit"), interrupts)
    return 0
