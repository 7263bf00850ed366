"""The examples in the docstrings of the `Recommender` give what they show."""

import doctest

from llmrec_jax import Recommender
from llmrec_jax.inference import recommender, stored


def test_examples(text_run):
    """All start from a freshly loaded bundle."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    tests = finder.find(recommender.Recommender, "Recommender", module=recommender)
    tests += finder.find(stored.Stored, "Stored", module=stored)
    assert {"Recommender.recommend", "Stored.add_items"} <= {test.name for test in tests if test.examples}
    for test in tests:
        test.globs["r"] = Recommender.load(text_run[1])
        runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 12
