"""The examples in the docstrings of the `Recommender` give what they show."""

import doctest

from llmrec_jax import Recommender
from llmrec_jax.inference import recommender as module


def test_examples(text_run):
    """All start from a freshly loaded bundle."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(module.Recommender, "Recommender", module=module):
        test.globs["r"] = Recommender.load(text_run[1])
        runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 11
