"""Writes a configuration as a Python file that `llmrec train` takes: the fields that differ from the defaults."""

import dataclasses
from typing import Any

from llmrec_jax.config import Config


def as_source(config: Config, docstring: str) -> str:
    """The source of a file whose `config()` returns `config`."""
    names: set[str] = set()
    expression = _expression(config, "    ", names)
    imports = "".join(f"    {name},\n" for name in sorted(names))
    text = docstring.replace("\\", "\\\\").replace('"""', "'''")
    return (
        f'"""{text}\n"""\n\nfrom llmrec_jax.config import (\n{imports})\n\n\ndef config() -> Config:\n'
        f'    """The experiment."""\n    return {expression}\n'
    )


def _expression(value: Any, indent: str, names: set[str]) -> str:
    """A Python expression of a value; dataclasses without the fields that have their default."""
    if isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
        return (
            "("
            + "".join(f"\n{indent}    {_expression(one, indent + '    ', names)}," for one in value)
            + f"\n{indent})"
        )
    if not dataclasses.is_dataclass(value):
        return repr(value)
    names.add(type(value).__name__)
    fields = []
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if own != default:
            fields.append(f"{indent}    {field.name}={_expression(own, indent + '    ', names)},\n")
    return f"{type(value).__name__}(" + (f"\n{''.join(fields)}{indent})" if fields else ")")
