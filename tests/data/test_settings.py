"""domain.json is read strictly; an unrelated domains.json is ignored."""

import json
import re
from pathlib import Path

import pytest

from llmrec_jax.data.domains.settings import Settings, read_settings
from llmrec_jax.errors import UserError
from tests.conftest import REPO


def settings_of(tmp_path, text, beside=None):
    folder = tmp_path / "shop"
    folder.mkdir(exist_ok=True)
    if text is not None:
        (folder / "domain.json").write_text(text)
    if beside is not None:
        (tmp_path / "domains.json").write_text(beside)
    return read_settings(folder)


def test_nothing_is_declared(tmp_path):
    assert settings_of(tmp_path, None) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"ordre": "none"}', "unknown key 'ordre'; nearest: 'order'"),
        ('{"columns": {"user": "u"}}', "unknown key 'user'; nearest: 'user_id'"),
        ('{"fields": {"author": "brand"}}', "unknown key 'author'; nearest: "),
        ('{"order": "upwards"}', "Invalid enum value 'upwards'"),
        ('{"time_unit": "hours"}', "Invalid enum value 'hours'"),
        ('{"encoding": "latin-7b"}', "unknown encoding 'latin-7b'; e.g. cp1252"),
        ('{"encoding": "hex"}', "unknown encoding 'hex'"),
        ('{"separator": "::"}', "separator '::' is not one character"),
        ('{"order": ', "Input data was truncated"),
        ("[1]", "Expected `object`, got `array`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        settings_of(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'shop' / 'domain.json'}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '["example.com"]',
        "{",
        "\xff",
        '{"domains": ["shop"]}',
        '{"domains": {"shop": "example.com"}}',
        '{"domains": {"shop": {"order": 3}}}',
        '{"domains": {"shop": null}}',
        "null",
    ],
)
def test_an_unrelated_domains_json_says_nothing(tmp_path, text):
    assert settings_of(tmp_path, None, text) == Settings()


def test_the_order_beside_the_folder(tmp_path):
    beside = json.dumps({"domains": {"shop": {"order": "none", "users": 3}, "other": {}}})
    assert settings_of(tmp_path, None, beside).order == "none"
    assert settings_of(tmp_path, '{"order": "sequence"}').order == "sequence"
    (tmp_path / "shop" / "domain.json").unlink()
    with pytest.raises(UserError, match="order 'upwards' of 'shop' is not timestamp, sequence or none"):
        settings_of(tmp_path, None, '{"domains": {"shop": {"order": "upwards"}}}')


def test_a_domains_json_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"domains\.json: may not be read \(Permission denied\); it can declare"):
        settings_of(tmp_path, None)


def test_the_example_of_the_documentation(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", (REPO / "docs" / "data.md").read_text(), flags=re.DOTALL)
    settings = settings_of(tmp_path, example)
    assert (settings.order, settings.time_unit, settings.fields) == ("sequence", "ms", {"brand": "author"})
    assert all(getattr(settings, field) != getattr(Settings(), field) for field in Settings.__struct_fields__)
