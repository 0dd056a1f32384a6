"""Tables of other people as rows: what they say, what is wrong with them, what is refused."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from headwater.analysis import evidence_of
from headwater.analysis.exchange import curves_of_rows
from headwater.errors import InputError
from headwater.imports import imported, map_of, shipped_maps
from headwater.rows import read_rows
from tests.conftest import Cli, refused
from tests.needs import DATA, needs_data

MAP = """
name: theirs
rows:
  method: {column: loss, names: {sup: supervised, none: scratch}, others: error}
  source: {column: from, names: {"-": null}}
  unique_images: {column: millions, times: 1000000}
  backbone: resnet50
  seed: 0
  task: {column: target}
  task_labels: level:0
values:
  "5": {protocol: finetune, shots: 5}
  full: {protocol: finetune}
best_over: [lr]
defects:
  - {says: chosen on the test set}
  - {says: a part of the test set, where: {target: birds}, values: "5"}
"""
TABLE = """loss,from,millions,target,lr,5,full
sup,a,0.5,birds,0.1,20,60
sup,a,0.5,birds,0.01,30,55.5
sup,a,0.5,cars,0.1,,70
none,-,,birds,0.1,5,40
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    table, words = tmp_path / "table.csv", tmp_path / "map.yaml"
    table.write_text(TABLE)
    words.write_text(MAP)
    return table, words


def test_each_score_is_a_row_with_its_flags(files: tuple[Path, Path]) -> None:
    table, words = files
    found = imported(table, map_of(str(words)))
    rows = found.rows.set_index(["source", "task", "shots"]).sort_index()
    assert len(found.rows) == 5
    best = found.rows[(found.rows["task"] == "birds") & (found.rows["source"] == "a")]
    few, full = best[best["shots"] == 5].iloc[0], best[best["shots"].isna()].iloc[0]
    assert few["value"] == pytest.approx(0.30) and json.loads(few["chosen"]) == {"lr": "0.01"}
    assert full["value"] == pytest.approx(0.60) and json.loads(full["chosen"]) == {"lr": "0.1"}
    assert few["unique_images"] == 500_000 and few["method"] == "supervised"
    assert few["defects"] == "chosen on the test set; a part of the test set"
    assert full["defects"] == "chosen on the test set"
    assert found.defects == {"chosen on the test set": 5, "a part of the test set": 2}
    assert found.told == (
        "1 empty score left out",
        "5 rows are the best of 7 points of a grid over lr",
    )
    assert few["arm"] == full["arm"] and few["cell"] != full["cell"]
    assert len(rows) == 5 and found.rows[found.rows["method"] == "scratch"]["source"].isna().all()


def test_the_command_writes_rows_that_everything_reads(
    headwater: Cli, files: tuple[Path, Path], tmp_path: Path
) -> None:
    table, words = files
    out = tmp_path / "rows.parquet"
    asked = ("import", str(table), "--map", str(words), "--out", str(out))
    code, printed, _ = headwater(*asked, "--json")
    assert code == 0
    facts = json.loads(printed)
    assert facts["rows"] == 5 and facts["tasks"] == ["birds", "cars"]
    found = evidence_of(read_rows(out))
    assert any("chosen on the test set" in sentence for sentence in found.beware)
    assert "defect, 2 rows: a part of the test set" in headwater(*asked)[1]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("sup,a,0.5,cars", "sub,a,0.5,cars", "line 4: 'sub' in loss is none of the map's names"),
        ("20,60", "x,60", "line 2: 5: 'x' is no number"),
        ("20,60", "200,60", "200 is no score from 0 to 100"),
        ("0.5,birds,0.1", "half,birds,0.1", "unique_images is 'half', no number"),
        ("sup,a,0.5,cars,0.1,,70", "sup,a,0.5,cars,0.1,70", "has not as many fields"),
        (",lr,", ",rate,", "has no column lr"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(
    files: tuple[Path, Path], before: str, after: str, said: str
) -> None:
    table, words = files
    table.write_text(TABLE.replace(before, after, 1))
    with pytest.raises(InputError, match=said):
        imported(table, map_of(str(words)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("unique_images:", "unique_image:", "'unique_image' is no field of a row"),
        ("  seed: 0\n", "", "has no seed, which every row needs"),
        ("  seed: 0\n", "  seed: 0\n  cell: 1\n", "cell is made by the import"),
        ("name: theirs", "nam: theirs", "did you mean 'name'"),
        ("best_over: [lr]", "", "two scores are of one cell"),
    ],
)
def test_a_wrong_map_is_refused(
    files: tuple[Path, Path], before: str, after: str, said: str
) -> None:
    table, words = files
    words.write_text(MAP.replace(before, after, 1))
    with pytest.raises(InputError, match=said):
        imported(table, map_of(str(words)))


def test_a_map_that_is_not_there_is_told_with_the_near_one(headwater: Cli, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    out = str(tmp_path / "rows.csv")
    result = headwater("import", str(table), "--map", "entezari2022", "--out", out)
    refused(result, "did you mean entezari2023?")
    assert set(shipped_maps()) == {"alabdulmohsin2022", "entezari2023"}


ROOT = Path(__file__).parents[2]
SIX = ["CIFAR100", "DTD", "CALTECH101", "PETS", "REAL", "CLIPART"]
REFERENCE = {
    ("Shutterstock", "2.7M", "clip"): (10.1, 36.1, 49.1, 80.0),
    ("LAION", "2.7M", "clip"): (11.7, 36.6, 48.4, 79.2),
    ("YFCC", "2.7M", "clip"): (8.0, 30.7, 42.6, 77.5),
    ("WIT", "2.7M", "clip"): (8.5, 28.9, 40.3, 76.5),
    ("LAION", "15M", "clip"): (16.8, 42.5, 54.9, 81.2),
    ("ImageNet-1k", "all", "supervised"): (11.0, 54.4, 64.8, 83.3),
    ("LAION", "2B", "clip"): (23.4, 51.3, 64.7, 85.7),
}
"""Best over the grid, mean over six tasks, at 1, 5, 10 and all images: the authors' table."""
SEVEN = ("Shutterstock", "LAION", "YFCC", "WIT", "RedCaps", "CC3M", "CC12M")
GAPS = {1: 5.4, 5: 9.9, 10: 10.1, 20: 10.3, -1: 3.9}


@needs_data
def test_the_authors_table_gives_the_reference_numbers_to_a_tenth_of_a_point() -> None:
    table = Path(str(DATA)) / "entezari2023" / "Hyperparameters_results.csv"
    found = imported(table, map_of("entezari2023"))
    rows = found.rows[found.rows["protocol"] == "finetune"].assign(
        shots=lambda frame: frame["shots"].fillna(-1).astype(int),
        value=lambda frame: 100 * frame["value"].astype(float),
    )
    six = rows[rows["task"].isin(SIX)]
    for (source, size, method), numbers in REFERENCE.items():
        of_arm = six[
            (six["source"] == source) & (six["size"] == size) & (six["method"] == method)
        ].sort_values("value", ascending=False)
        best = of_arm.drop_duplicates(["task", "shots"])
        means = best.groupby("shots")["value"].mean()
        for shots, number in zip((1, 5, 10, -1), numbers, strict=True):
            assert round(float(means[shots]), 1) == number, (source, size, shots)
    sources = six[(six["size"] == "2.7M") & six["source"].isin(SEVEN)]
    by_source = sources.groupby(["shots", "task", "source"])["value"].max()
    spread = by_source.groupby(["shots", "task"]).agg(lambda values: values.max() - values.min())
    whole = by_source.groupby(["shots", "task"]).size() == len(SEVEN)
    gaps = spread[whole].groupby("shots").mean()
    assert {shots: round(float(gaps[shots]), 1) for shots in GAPS} == GAPS
    assert found.defects["the few-shot test set was subsampled"] == 252
    zero = found.rows[found.rows["protocol"] == "zeroshot"]
    assert set(zero["method"]) == {"clip"} and 100 * zero["value"].max() < 69, "no probe's score"


@pytest.mark.slow
@needs_data
def test_the_public_curves_come_with_their_split_flagged() -> None:
    found = imported(
        Path(str(DATA)) / "scaling" / "fewshot_curves.csv", map_of("alabdulmohsin2022")
    )
    assert len(found.rows) == 18_883
    assert found.defects["the best so far, so its noise cannot be seen"] == 3_902


@pytest.mark.slow
@needs_data
def test_the_page_of_the_authors_table_holds_its_figures() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_authors_table.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    rows = script["rows_of"](Path(str(DATA)))
    assert script["with_block"](text, rows) == text, "run python tools/make_authors_table.py"


def test_words_of_a_map_that_meet_nothing_are_told(files: tuple[Path, Path]) -> None:
    table, words = files
    words.write_text(MAP.replace("where: {target: birds}", "where: {target: bird}"))
    told = imported(table, map_of(str(words))).told
    assert any("no line has 'bird'" in line for line in told)


def test_shares_that_are_called_percent_and_broken_whole_numbers_are_refused(
    files: tuple[Path, Path],
) -> None:
    table, words = files
    table.write_text(TABLE.replace("20,60", "0.2,0.6").replace("30,55.5", "0.3,0.5").replace(
        ",,70", ",,0.7").replace("5,40", "0.05,0.4"))  # fmt: skip
    with pytest.raises(InputError, match="say unit: share"):
        imported(table, map_of(str(words)))
    table.write_text(TABLE.replace("a,0.5,birds,0.1", "a,0.5000001,birds,0.1"))
    with pytest.raises(InputError, match="must be a whole number"):
        imported(table, map_of(str(words)))


def test_rows_are_not_written_over_their_table(headwater: Cli, files: tuple[Path, Path]) -> None:
    table, words = files
    result = headwater("import", str(table), "--map", str(words), "--out", str(table))
    refused(result, "is the table itself")
    assert table.read_text() == TABLE


def test_arms_that_differ_in_their_images_alone_have_these_as_their_size(tmp_path: Path) -> None:
    """Without a size they would be one arm, and curves of one point."""
    table, words = tmp_path / "table.csv", tmp_path / "map.yaml"
    lines = [f"web,{n},{seed},{0.4 + n / 1e5}" for n in (1000, 2000, 4000) for seed in (0, 1)]
    table.write_text("data,n,seed,birds\n" + "\n".join(lines) + "\n")
    words.write_text(
        "name: theirs\nunit: share\nvalues:\n  birds: {shots: full}\nrows:\n"
        "  method: supervised\n  backbone: tiny\n  protocol: probe\n  task: birds\n"
        "  task_labels: level:0\n  source: {column: data}\n"
        "  unique_images: {column: n}\n  seed: {column: seed}\n"
    )
    found = imported(table, map_of(str(words)))
    assert found.rows["size"].tolist() == found.rows["unique_images"].astype(str).tolist()
    assert found.told == (
        "6 rows are of arms that differ in their images alone: these are their size",
    )
    one = [curve.n for curve in curves_of_rows(found.rows)]
    assert one == [(1000.0, 2000.0, 4000.0)]
