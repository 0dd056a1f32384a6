from __future__ import annotations

import base64
import gzip
import json
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.analysis import prepare
from headwater.errors import InputError
from headwater.report import embedded, write_report
from headwater.report import page as report_page
from headwater.report.page import render
from headwater.report.provenance import _text, held, warnings
from headwater.rows import read_rows, to_frame
from tests.analysis.synthetic import arm_fields, one_row, synthetic_rows

EVIL = "</script><script>window.stolen=1</script>\"'&<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Elements of a page by name, and the text of its script and JSON elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def parsed(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.tags


def data_of(page: str) -> dict[str, Any]:
    """The data that a page carries for its script."""
    packed = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert packed
    return dict(json.loads(gzip.decompress(base64.b64decode(packed.group(1)))))


def column_of(packed: dict[str, Any], name: str) -> list[Any]:
    """A column of packed rows or numbers, as the page's script reads it."""
    column = next(column for column in packed["columns"] if column["name"] == name)
    if "constant" in column:
        return [column["constant"]] * int(packed["count"])
    if "codes" in column:
        return [column["distinct"][code] for code in column["codes"]]
    return list(column["values"])


def places_of(runs: str) -> list[int]:
    """ "0-2 7" -> [0, 1, 2, 7]."""
    places: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        places += range(int(first), int(last or first) + 1)
    return places


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return synthetic_rows(seeds=2, tasks=("birds", "scenes"), shots=(5, None), draws=1)


def test_a_report_is_one_file_that_names_no_address(small: pd.DataFrame, tmp_path: Path) -> None:
    path = write_report(small, tmp_path / "new" / "report.html", title="T")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]  # nothing temporary is left
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    page = path.read_text()
    for tag, attributes in parsed(page):
        assert not {"src", "srcset", "action"} & set(attributes), (tag, attributes)
        assert (attributes.get("href") or "data:,").startswith(("data:,", "#"))
    policy = next(
        a["content"] for t, a in parsed(page) if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert (
        policy
        and "default-src 'none'" in policy
        and "unsafe-eval" not in policy
        and "unsafe-inline" not in policy.split("style-src")[0]
    )


@pytest.mark.slow
def test_a_failed_write_leaves_the_old_report_and_nothing_else(
    small: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(small, path, title="T")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_markup_in_data_and_titles_stays_text() -> None:
    rows = [
        one_row(
            cell=f"c{s}{k}",
            seed=s,
            source=EVIL if k else "photos",
            task=EVIL,
            reason=None,
            value=0.5 + 0.1 * k,
        )
        for s in range(2)
        for k in range(2)
    ]
    rows.append(
        one_row(
            cell="bad", seed=3, source=EVIL, task=EVIL, status="failed", value=None, reason=EVIL
        )
    )
    page = render(to_frame(rows), title=EVIL, question=EVIL, notes=[EVIL])
    assert "<script>window.stolen" not in page and "<img src=x" not in page
    assert len([t for t, _ in parsed(page) if t == "script"]) == 3
    assert EVIL in column_of(data_of(page)["rows"], "task")


def test_the_rows_are_embedded_whole_and_every_finding_names_its_cells(small: pd.DataFrame) -> None:
    page = render(small, title="T")
    data = data_of(page)
    assert data["rows"]["count"] == len(small) and set(data["cells"]) == set(small["cell"])
    kept = [value for value in column_of(data["rows"], "value") if value is not None]
    assert sorted(kept) == sorted(small["value"].dropna().tolist())
    traced = [a["data-cells"] or "" for _, a in parsed(page) if "data-cells" in a]
    assert traced and all(traced)
    assert max(place for runs in traced for place in places_of(runs)) < len(data["cells"])
    counts = [int(a["data-count"] or 0) for _, a in parsed(page) if "data-cells" in a]
    assert counts == [len(places_of(runs)) for runs in traced]
    assert 'id="part"' not in page


@pytest.mark.slow
def test_every_number_counts_the_cells_that_have_a_row_of_it(small: pd.DataFrame) -> None:
    numbers = data_of(render(small, title="T"))["summary"]
    keys = ["name", "task", "protocol", "shots", "metric", "subset"]
    table = prepare(small)
    table["shots"] = table["shots"].astype("string").fillna("all")
    cells = table.groupby(keys)["cell"].nunique()
    fields = zip(*(column_of(numbers, key) for key in keys), strict=True)
    shown = dict(zip(fields, column_of(numbers, "cells"), strict=True))
    assert shown == cells.to_dict() and len(shown) == numbers["count"]


@pytest.mark.slow
def test_of_many_rows_the_page_holds_a_part_and_all_lie_beside_it(
    small: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = render(small, title="T")
    for module in (embedded, report_page):
        monkeypatch.setattr(module, "MOST_ROWS", 50)
    path = write_report(small, tmp_path / "a b.html", title="T")
    assert {p.name for p in tmp_path.iterdir()} == {"a b.html", "a b.rows.parquet"}
    pd.testing.assert_frame_equal(read_rows(tmp_path / "a b.rows.parquet"), small)
    page = path.read_text()
    assert f"holds 50 of {len(small)} rows" in page and 'href="a%20b.rows.parquet"' in page
    data, all_data = data_of(page), data_of(whole)
    assert data["rows"]["count"] == 50
    lost = int((small["status"] != "done").sum())
    assert 0 < lost < 50
    assert sum(status != "done" for status in column_of(data["rows"], "status")) == lost
    assert (data["summary"], data["panels"]) == (all_data["summary"], all_data["panels"])
    for pattern in (r'<p class="answer">.*?</p>', r'data-count="\d+"'):
        assert re.findall(pattern, page) == re.findall(pattern, whole)
    held = [len(places_of(a["data-cells"] or "")) for _, a in parsed(page) if "data-cells" in a]
    assert max(held) <= len(data["cells"]) == len(set(column_of(data["rows"], "cell")))


def test_without_the_rows_no_page_is_written(
    small: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_page, "MOST_ROWS", 50)
    (tmp_path / "report.rows.parquet").mkdir()
    with pytest.raises(InputError, match=r"report\.rows\.parquet: cannot be written"):
        write_report(small, tmp_path / "report.html", title="T")
    assert [p.name for p in tmp_path.iterdir()] == ["report.rows.parquet"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        to_frame([]),
        to_frame([one_row()]),
        to_frame([one_row(status="failed", value=None, reason="oom")]),
    ],
)
def test_odd_tables_make_a_report(frame: pd.DataFrame) -> None:
    page = render(frame, title="Nothing much")
    assert "Verdict" in page and "nan" not in re.sub(
        r"<script.*?</script>", "", page, flags=re.S
    ).lower().replace("finance", "")


def test_what_was_held_equal_is_told_from_what_differs(small: pd.DataFrame) -> None:
    equal = {h.column: h.words for h in held(small) if h.equal}
    differs = {h.column for h in held(small) if not h.equal}
    assert (
        equal["backbone"] == "tiny" and equal["images_seen"] == "400000"
    )  # scratch, which saw none, does not count
    assert {"source", "labels", "method", "seed"} <= differs and not differs & set(equal)


def test_warnings_name_what_makes_a_comparison_unfair() -> None:
    rows = [
        one_row(cell="a", seed=0, versions='{"torch":"2.8"}'),
        one_row(cell="b", seed=1, versions='{"torch":"2.9"}', fingerprint="cuda"),
        one_row(
            cell="c", seed=0, labels="level:1", leaked_test_images=12, head_init="lp", value=0.04
        ),
        one_row(cell="d", seed=0, labels="level:1", value=0.04, n_test=10),
        one_row(cell="g", seed=0, labels="level:1", value=0.04, task_fingerprint="other"),
        one_row(cell="e", seed=1, labels="level:1", value=None, status="diverged", reason="nan"),
        one_row(
            cell="f", seed=0, labels="level:2", protocol="probe", label_reuse=True, head_init=None
        ),
    ]
    text = "\n".join(warnings(to_frame(rows)))
    for words in ("torch 2.9", "cuda", "12 test images", "Head "
    "initialisation", "differ in size", "2 different tasks", "1 cell diverged",
                  "averages several cells", "re-used", "most frequent class",
                  "Seeds are unequal"):  # fmt: skip
        assert words in text, words


def test_arms_that_were_not_pre_trained_alike_are_named() -> None:
    places = {
        "pretrain_fingerprint": ("cpu bf16", "cuda bf16"),
        "pretrain_versions": ('{"torch":"2.8"}', '{"torch":"2.9"}'),
    }
    for column, (one, other) in places.items():
        rows = [
            one_row(cell="a", seed=0, **{column: one}),
            one_row(cell="b", seed=1, **{column: other}),
        ]
        (text,) = warnings(to_frame(rows))
        assert (
            "not computed alike" in text
            and column in text
            and all(_text(word) in text for word in (one, other))
        )
        assert column in {h.column for h in held(to_frame(rows)) if not h.equal}
        scratch = one_row(cell="s", **arm_fields("scratch", None, None, None) | {column: None})
        assert warnings(to_frame([rows[0], scratch])) == []


@pytest.mark.parametrize(
    "recipe",
    ['{"a":' + "[" * 3000 + "]" * 3000 + "}", '{"a":' + "9" * 5000 + "}", '{"a', "{}"],
    ids=["nested", "long", "cut", "empty"],
)
def test_a_recipe_that_is_no_plain_json_is_shown_as_it_stands(recipe: str) -> None:
    frame = to_frame([one_row(cell=str(s), seed=s, recipe=recipe) for s in range(2)])
    assert {h.column: h.words for h in held(frame)}["recipe"] == (recipe if recipe != "{}" else "")
    assert "Verdict" in render(frame, title="T")


@pytest.mark.parametrize("column", ["value", "pretrain_loss", "seconds", "task_majority"])
def test_an_infinite_number_is_refused_before_a_report_is_made(column: str) -> None:
    with pytest.raises(
        InputError, match=rf"'{column}' should be a finite number, not inf as in row 1 \(cell c0\)"
    ):
        render(to_frame([one_row(**{column: float("inf")})]), title="T")


def test_a_clean_table_has_no_warnings() -> None:
    rows = [
        one_row(cell=f"{k}{s}", seed=s, labels=f"level:{k}") for s in range(2) for k in range(2)
    ]
    rows += [
        one_row(cell=f"s{s}", seed=s, **arm_fields("scratch", None, None, None)) for s in range(2)
    ]
    assert warnings(to_frame(rows)) == []
