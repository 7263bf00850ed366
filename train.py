"""Train one experiment: `python train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]`.

Reads the configuration file, joins the multi-process job if there is one, trains and evaluates. Writes `config.json`,
`metrics.jsonl`, `report.json`, `checkpoints/` and `bundle/` to DIR. The same command again resumes the run.
"""

import sys

from llmrec_jax.cli import train

if __name__ == "__main__":
    sys.exit(train(sys.argv[1:]))
