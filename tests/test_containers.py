"""The Dockerfiles: what they copy exists and is not ignored, they pin, do not run as root, and start what they say.

No test builds them.
"""

import fnmatch
import json
import re
import shlex

import pytest

from llmrec_jax.cli import main
from llmrec_jax.server import listening
from tests.conftest import REPO

KEY = "LLMREC_API_KEY"
FILES = ("Dockerfile", "Dockerfile.cuda")
IGNORED = (REPO / ".dockerignore").read_text().split()


def instructions(name):
    text = (REPO / name).read_text().replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]


def documented(name):
    """The arguments of `llmrec` in the commands of the first lines."""
    lines = [
        shlex.split(line.removeprefix("#")) for line in (REPO / name).read_text().splitlines() if "docker run" in line
    ]
    tag = "llmrec-cuda" if name.endswith("cuda") else "llmrec"
    return [words[words.index(tag) + 1 :] for words in lines]


@pytest.mark.parametrize("name", FILES)
def test_a_dockerfile(name):
    steps = instructions(name)
    words = [word for word, _ in steps]
    images = {rest.split()[0] for word, rest in steps if word == "FROM"}
    assert all(re.fullmatch(r"python:3\.13-slim-\w+", image) for image in images)
    stages = [rest.split()[-1] for word, rest in steps if word == "FROM" and " AS " in rest]
    copied = [rest.split() for word, rest in steps if word == "COPY"]
    assert {"constraints/python3.12.txt", "."} <= {source for source, *_ in copied}
    for source, *_ in copied:
        if source.startswith("--from="):
            assert source.removeprefix("--from=") in stages
        else:
            assert (REPO / source).exists()
            assert not any(fnmatch.fnmatch(part, rule) for part in source.split("/") for rule in IGNORED if part != ".")
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--constraint" in rest for rest in installs)
    assert dict(steps)["USER"] not in ("root", "0")
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "--mode 1777 /cache" in installs[1]  # docker run --user: the encoder is downloaded by any user
    assert "XDG_CACHE_HOME=/cache" in dict(steps)["ENV"]


def test_what_the_wheel_is_built_from_is_not_ignored():
    for needed in ("pyproject.toml", "README.md", "LICENSE", "llmrec_jax", "constraints"):
        assert not any(fnmatch.fnmatch(needed, rule.removeprefix("**/")) for rule in IGNORED)


@pytest.mark.parametrize("name", FILES)
def test_the_command_serves_the_mounted_bundle(name, monkeypatch, capsys):
    steps = dict(instructions(name))
    assert json.loads(steps["ENTRYPOINT"]) == ["llmrec"]
    found = []

    class Stop(Exception):
        pass

    def bound(host, port):
        found.append((host, port))
        raise Stop

    monkeypatch.setattr(listening, "bound", bound)
    monkeypatch.delenv(KEY, raising=False)
    command = json.loads(steps["CMD"])
    assert main(command) == 2
    assert f"set {KEY}" in capsys.readouterr().err
    monkeypatch.setenv(KEY, "correct-horse")
    with pytest.raises(Stop):
        main(command)
    assert found == [("0.0.0.0", int(steps["EXPOSE"]))]
    mounted = next(word for word in command if word.startswith("/"))
    assert f":{mounted}:ro" in (REPO / name).read_text()
    assert f"127.0.0.1:{steps['EXPOSE']}/healthz" in steps["HEALTHCHECK"]


@pytest.mark.parametrize("name", FILES)
def test_the_documented_training_command_is_parsed(name, monkeypatch):
    trained = []
    monkeypatch.setattr("llmrec_jax.cli.training.run", lambda config, *_, **__: trained.append(config.data.target))
    served, training = documented(name)
    assert served == []  # the image's own command
    main(training)
    assert trained == ["FOLDER"]
