"""The command `plot`: pictures of finished runs and of adaptations."""

from pathlib import Path
from typing import Literal

import tyro


def plot(
    workdirs: tyro.conf.Positional[tuple[Path, ...]],
    folder: Path = Path("plots"),
    methods: tuple[str, ...] = ("text_knn_decayed", "item_knn", "ease", "l3ae", "model", "answer"),
    candidate: str | None = None,
    format: Literal["png", "svg", "pdf"] = "png",
) -> int:
    """Draw finished runs: training curves, NDCG@10 by slice of users and against the share of target users. Or draw a
    folder of llmrec adapt: item vectors before and after, training, validator scores against test NDCG@10, gains.

    Needs matplotlib: pip install 'llmrec_jax[plots]'.

    Example: llmrec plot runs/few runs/full --folder plots

    Args:
      workdirs: Work folders of finished runs, or one folder of llmrec adapt.
      folder: Folder to write the pictures to.
      methods: Methods of the reports to draw.
      candidate: With a folder of llmrec adapt: the candidate whose items are drawn; by default the chosen one.
      format: File format of the pictures.
    """
    from llmrec_jax.errors import UserError
    from llmrec_jax.evaluate import plots

    if not workdirs or not methods:
        raise UserError("name at least one work folder and one method")
    for path in plots.plot(workdirs, methods, folder, format, candidate):
        print(path)
    return 0
