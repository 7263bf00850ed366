"""The checkpoint that a run resumes from, and advice if resuming cannot help (non-finite loss)."""

from pathlib import Path

from rich.console import Console

from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.train.checkpoint import Checkpoints


def newest_checkpoint(checkpoints: Checkpoints, num_steps: int, console: Console) -> int | None:
    """The step to resume from, None for a new run; prints it, and what is wrong with newer checkpoints."""
    latest, problems = from_first(checkpoints.newest_intact)
    lines = [f"left out: {problem}" for problem in problems]
    if latest == num_steps:
        lines.append(f"already complete ({num_steps} steps): writing bundle and report")
    elif latest is not None or problems:
        lines.append(f"resuming at step {latest or 0} of {num_steps}")
    for line in lines:
        console.print(line, markup=False, highlight=False)
    return latest


def advice(config: Config, workdir: Path) -> str:
    """Advice for a run with non-finite metrics."""
    latest = Checkpoints(workdir / "checkpoints", read_only=True).latest_step()
    there = "no checkpoint yet" if latest is None else f"a checkpoint of step {latest}"
    return (
        f"{workdir} has {there}; resuming from it would fail again\n"
        f"  in another --workdir, try a lower --optim.learning_rate (it is {config.optim.learning_rate}), more "
        f"--optim.warmup_steps ({config.optim.warmup_steps}) or --model.compute_dtype float32"
    )
