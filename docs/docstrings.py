"""A griffe extension that prepares docstrings for Markdown: fences around doctests, line breaks in those of fields."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", flags=re.MULTILINE)  # up to the next empty line


class Docstrings(griffe.Extension):
    """Applied to every object that mkdocstrings reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring before it is parsed into sections."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if obj.is_attribute and obj.path.startswith("llmrec_jax.config."):
            text = text.replace("\n", "  \n")  # each line is a line of --help
        obj.docstring.value = DOCTEST.sub(r"```pycon\n\g<0>\n```", text)
