"""The command `report`: the page of a finished run."""

from llmrec_jax.cli.printing import Folder


def report(workdir: Folder) -> int:
    """Write report.html of a finished run: verdict, methods with intervals, curves, shelves, configuration. Or of a
    folder of llmrec adapt: the choice, gains of the candidates, items before and after.

    One file that needs no network; llmrec train and llmrec adapt also write it. Titles and ten histories of the shop
    are in it, user ids are not.

    Example: llmrec report runs/my_shop

    Args:
      workdir: The work folder of the run, or the folder of llmrec adapt.
    """
    from llmrec_jax import html
    from llmrec_jax.progress import shown

    is_adaptation = (workdir / html.CHOICE).exists()
    with shown("writing report.html"):
        page = html.write_adaptation(workdir) if is_adaptation else html.write_report(workdir)
    print(page)
    return 0
