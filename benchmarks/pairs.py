"""`llmrec adapt` on eight pairs of shops: `python -m benchmarks.pairs DATA RESULTS --encoder FOLDER [--seeds 3]`.

Each pair is zero-shot: `configs/adaptation.py` trained on one shop, selected on a second one that is left out, tested
on a third. `--changes="--encoder.mode full"` changes the configuration, as for `train.py`. Writes for each pair and
seed RESULTS/PAIR-sSEED.json, and resumes where it was stopped; then `python benchmarks/validators.py RESULTS/*.json`
prints the tables of docs/adaptation.md.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).parents[1]
PAIRS = (  # trained on, left out, target
    ("scientific", "gift_cards", "steam"),
    ("scientific", "gift_cards", "music"),
    ("scientific", "gift_cards", "movies"),
    ("scientific", "gift_cards", "books"),
    ("steam", "gift_cards", "scientific"),
    ("steam", "gift_cards", "movies"),
    ("music", "gift_cards", "steam"),
    ("music", "gift_cards", "scientific"),
)
CANDIDATES = ("coral:1", "dann:0.1", "none@wise:0.5")


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("results", type=Path)
    parser.add_argument("--encoder", required=True, help="folder of MiniLM; None: from scratch, with --changes")
    parser.add_argument("--cache-dir", default=".cache/llmrec_jax")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="pairs at a time")
    parser.add_argument("--changes", default="", help="of the configuration, as arguments of train.py")
    given = parser.parse_args(arguments)
    given.results.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        done = []
        for seed in range(given.seeds):
            for trained_on, left_out, target in PAIRS:
                result = given.results / f"{trained_on}-{target}-s{seed}.json"
                if not result.exists():
                    fields = {
                        "data.root": given.root,
                        "data.cache-dir": given.cache_dir,
                        "data.target": target,
                        "encoder.pretrained": given.encoder,
                        "train.selection": left_out,
                        "seed": str(seed),
                    }
                    flags = [part for name, value in fields.items() for part in (f"--{name}", value)]
                    done.append(pool.submit(_adapt, result, [trained_on, left_out], flags + shlex.split(given.changes)))
        for job in done:
            job.result()


def _adapt(result: Path, sources: list[str], flags: list[str]) -> None:
    """Run one pair in a process of its own, which frees its memory; write `result` when it is done."""
    start, unfinished = time.perf_counter(), result.with_suffix(".tmp")
    with tempfile.TemporaryDirectory() as workdir, unfinished.open("w") as out:
        command = [sys.executable, "-m", "llmrec_jax", "adapt", "configs/adaptation.py", "--reveal", "--json"]
        command += ["--candidates", *CANDIDATES, "--data.sources", *sources, "--workdir", workdir, *flags]
        subprocess.run(command, cwd=REPO, stdout=out, check=True)
    os.replace(unfinished, result)
    print(f"{result.stem}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
