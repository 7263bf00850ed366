"""What the tests of pictures share."""

import pytest

from llmrec_jax.evaluate import plots


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn, in order."""
    drawn, make = [], plots._figure
    monkeypatch.setattr(plots, "_figure", lambda: drawn.append(make()) or drawn[-1])
    return drawn
