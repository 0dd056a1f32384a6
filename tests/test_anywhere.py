"""tools/test_anywhere.py: what it sets, and what it makes of a report of pytest."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests import needs

REPORT = """\
<testsuites><testsuite>
<testcase classname="tests.a" name="passes"/>
<testcase classname="tests.a" name="says something"><system-out>words</system-out></testcase>
<testcase classname="tests.labels.test_wordnet.TestIt" name="is left out">
<skipped message="without git: none"/></testcase>
<testcase classname="tests.b" name="fails"><failure message="1 != 2"/></testcase>
<testcase classname="tests.b" name="has no fixture"><error message="no disk"/></testcase>
</testsuite></testsuites>
"""


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(needs.ROOT / "tools" / "test_anywhere.py"))


def test_a_report_is_counted_and_failures_and_errors_are_named(
    tool: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    outcome = tool["outcome_of"](tmp_path / "report.xml")
    assert (outcome.passed, outcome.skipped) == (2, 1)
    assert outcome.failed == ("tests.b.fails", "tests.b.has no fixture")
    assert outcome.asking == ("tests/labels/test_wordnet.py",)
    assert tool["table"]({"as it is": outcome}) == (
        "| setting | passed | skipped | failed |\n"
        "|---|---:|---:|---:|\n"
        "| as it is | 2 | 1 | 2 |\n"
        "\nFailed, as it is:\n\n- `tests.b.fails`\n- `tests.b.has no fixture`\n"
    )


def test_every_need_is_hidden_once_by_itself_and_once_with_all_others(tool: dict[str, Any]) -> None:
    hidden = [words[needs.HIDING] for words in tool["SETTINGS"].values() if needs.HIDING in words]
    assert hidden == [",".join(needs.NAMES), *needs.NAMES]
    assert set(needs.NEEDS) == set(needs.NAMES)


def test_a_need_that_nobody_knows_cannot_be_hidden() -> None:
    assert needs.names_to_hide(" data, git,") == {"data", "git"}
    with pytest.raises(pytest.UsageError, match="'disk' is none of data, chromium"):
        needs.names_to_hide("data,disk")
