"""The command `report`: the page of a finished run."""

from llmrec_jax.cli.printing import Folder


def report(workdir: Folder) -> int:
    """Write report.html of a finished run: verdict, methods with intervals, curves, shelves, configuration.

    One file that needs no network. `llmrec train` also writes it. Titles and histories of the shop are in it, user ids
    are not.

    Example: llmrec report runs/my_shop

    Args:
      workdir: The work folder of the run.
    """
    from llmrec_jax.html import write_report

    print(write_report(workdir))
    return 0
