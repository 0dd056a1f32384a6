"""headwater sources: the list, one set, and the check of a copy with its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater.errors import InputError
from headwater.sources.recipes import recipe_names
from tests.sources.test_checking import shard


def ran(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["sources", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_list_and_one_set_say_what_recipes_say() -> None:
    text = ran()
    assert all(name in text for name in recipe_names())
    sets = json.loads(ran("--json"))["sets"]
    assert [row["name"] for row in sets] == list(recipe_names())
    one = ran("imagenet21k")
    assert "level:9" in one and "[paper] Hong et al. 2023" in one and "image-net.org" in one
    assert json.loads(ran("show", "cc12m", "--json"))["images"]["value"] == 12_423_374


def test_a_check_ends_with_0_1_or_an_error(tmp_path: Path) -> None:
    shard(tmp_path, 0)
    text = ran("check", "cc12m", "--path", str(tmp_path), code=1)
    assert "not whole:" in text and "has tried 7 of 12,423,374 lines" in text
    facts = json.loads(ran("check", "cc12m", "--path", str(tmp_path), "--json", code=1))
    assert facts["images"] == 6 and not facts["whole"] and facts["captions"]["without"] == 1
    for words in (["check", "cc12m", "--path", str(tmp_path / "no")], ["nothing"]):
        result = CliRunner().invoke(app, ["sources", *words])
        assert isinstance(result.exception, InputError)  # exit code 2 (headwater.cli.ending)


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_names_the_commands(word: str) -> None:
    assert "check" in ran(word)
