"""The examples in the docstrings run, and every public function has one and works under `jit`."""

import doctest
import importlib
import inspect
import pkgutil

import jax
import pytest

from llmrec_jax.losses import adaptation

MODULES = {
    module.name: importlib.import_module(f"{adaptation.__name__}.{module.name}")
    for module in pkgutil.iter_modules(adaptation.__path__)
}
PUBLIC = {name: getattr(adaptation, name) for name in adaptation.__all__}
STATIC = {"critic", "distance", "num_domains", "alpha", "num_directions", "width", "widths"}


def jitted(function):
    return jax.jit(function, static_argnames=STATIC & set(inspect.signature(function).parameters))


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"rows"}))
def test_examples_give_what_they_say_under_jit(name):
    module = MODULES[name]
    functions = {key: jitted(value) for key, value in PUBLIC.items() if inspect.isfunction(value)}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module, globs=vars(module) | functions):
        runner.run(example)
    assert runner.tries
    assert not runner.failures


def test_every_public_function_has_an_example_and_is_listed():
    for name, value in PUBLIC.items():
        assert inspect.isclass(value) or ">>>" in value.__doc__, name
    for name in set(MODULES) - {"rows"}:
        own = {
            key
            for key, value in vars(MODULES[name]).items()
            if getattr(value, "__module__", "") == MODULES[name].__name__
        }
        assert {key for key in own if not key.startswith("_")} <= set(PUBLIC), name
