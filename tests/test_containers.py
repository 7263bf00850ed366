"""The Dockerfiles: what they copy exists, they pin and do not run as root. No test builds them."""

import re

import pytest

from tests.conftest import REPO


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_a_dockerfile(name):
    text = (REPO / name).read_text().replace("\\\n", " ")
    instructions = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    images = {rest.split()[0] for word, rest in instructions if word == "FROM"}
    assert all(re.fullmatch(r"python:3\.13-slim-\w+", image) for image in images)
    for word, rest in instructions:
        if word == "COPY" and "--from" not in rest:
            assert (REPO / rest.split()[0]).exists()
        if word == "RUN" and "pip install" in rest:
            assert "--constraint" in rest
    words = [word for word, _ in instructions]
    assert dict(instructions)["USER"] not in ("root", "0")
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "/healthz" in dict(instructions)["HEALTHCHECK"]
    assert (REPO / "constraints" / "python3.12.txt").exists()
