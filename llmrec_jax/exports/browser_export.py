"""The `browser` export: a static page that recommends with scorer.onnx, computed in the browser.

The page needs onnxruntime-web, which is not part of this package: its files have to be copied into the folder, because
the page loads nothing from other hosts.
"""

import shutil
from pathlib import Path

from llmrec_jax.exports import onnx_export
from llmrec_jax.exports.scorer import Scorer

PAGE = Path(__file__).parent / "browser"


def write(scorer: Scorer, folder: Path) -> None:
    """Write the page and the scorer to an existing folder."""
    onnx_export.write(scorer, None, folder)
    for file in sorted(PAGE.iterdir()):
        shutil.copy(file, folder)
