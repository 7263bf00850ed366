"""Entry point of `python -m llmrec_jax VERB ...`; `--help` lists the verbs."""

import sys

from llmrec_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m llmrec_jax"))
