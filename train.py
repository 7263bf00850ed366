"""Train one experiment: `python train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]`.

Reads the configuration file, joins the job of several processes where there is one, trains, evaluates, and leaves
`config.json`, `metrics.jsonl`, `report.json`, `checkpoints/` and `bundle/` in DIR. Called again, it goes on where it
was.
"""

import sys

from llmrec_jax.cli import train

if __name__ == "__main__":
    sys.exit(train(sys.argv[1:]))
