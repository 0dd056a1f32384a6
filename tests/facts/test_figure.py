"""`hw.figure`: any chart by its name, in a notebook, in Altair and as a file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.report.charts import charts
from tests.analysis.synthetic import synthetic_rows
from tests.conftest import Finished

ROWS = synthetic_rows(tasks=("birds", "scenes"), protocols=("finetune", "probe"), noise=0.02)


@pytest.fixture(scope="module")
def figure() -> hw.Figure:
    return hw.figure("accuracy", ROWS)


def test_a_figure_shows_itself_as_vega_lite_and_as_an_image(figure: hw.Figure) -> None:
    bundle, about = figure._repr_mimebundle_()
    spec = bundle["application/vnd.vegalite.v6+json"]
    assert spec == figure.spec and spec["$schema"].endswith("vega-lite/v6.json")
    json.dumps(spec, allow_nan=False)
    png = base64.b64decode(bundle["image/png"])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        width, height = image.size
    assert about["image/png"] == {"width": round(width / 2), "height": round(height / 2)}
    assert "Accuracy of each arm" in bundle["text/plain"]


def test_a_figure_is_written_in_the_format_of_its_name(figure: hw.Figure, tmp_path: Path) -> None:
    begins = {".svg": b"<svg", ".html": b"<!DOCTYPE html>"}
    for suffix, head in begins.items():
        assert figure.save(tmp_path / f"a{suffix}").read_bytes().startswith(head)
    assert json.loads(figure.save(str(tmp_path / "a.json")).read_text()) == figure.spec
    with pytest.raises(hw.InputError, match=r"end the file's name in one of them"):
        figure.save(tmp_path / "a.bmp")


@pytest.mark.slow
def test_settings_choose_the_panels() -> None:
    spec = hw.figure("accuracy", ROWS, protocol="probe", tasks=["scenes"]).spec
    assert [panel["title"] for panel in spec["concat"]] == ["scenes"]
    assert "probe" in spec["title"]["subtitle"]


@pytest.mark.slow
def test_rows_come_from_a_table_or_a_store_alike(finished: Finished, tmp_path: Path) -> None:
    rows = hw.read_rows(finished.store)
    table = tmp_path / "rows.parquet"
    rows.to_parquet(table)
    for of in (table, str(table), finished.store, hw.Store(finished.store)):
        assert hw.figure("accuracy", of).spec == hw.figure("accuracy", rows).spec


def test_charts_of_a_study_come_from_words_a_file_a_plan_or_facts(finished: Finished) -> None:
    study = hw.Study.load(finished.study)
    plan = hw.make_plan(study, store=finished.store)
    for of in (finished.study, study, plan):
        labels = hw.figure("labels", of, store=finished.store)
        assert labels.title == "Label views of tiny-world"
        curves = hw.figure("curves", of, store=finished.store)
        assert len(curves.spec["concat"]) >= 2
    assert hw.figure("labels", hw.labels_facts(finished.study)).spec == labels.spec


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("acuracy", ROWS, "did you mean 'accuracy'?"),
        ("accuracy", "study.yaml", "is a study; give hw.run of it"),
        ("accuracy", {"a": 1}, "not from a dict"),
        ("curves", ROWS, "not from a DataFrame"),
        ("accuracy", "nowhere.csv", "there is no such file"),
        ("granularity", ROWS[ROWS["method"] == "scratch"], "have no granularity chart"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(name: str, of: Any, said: str) -> None:
    with pytest.raises(hw.InputError, match=said.replace("?", r"\?")):
        hw.figure(name, of)


@pytest.mark.docs
def test_altair_reads_every_figure_of_the_committed_rows() -> None:
    import altair

    results = Path(__file__).parents[2] / "docs" / "results"
    read = set()
    for table in ("photos", "grocery"):
        rows = hw.read_rows(results / f"{table}.parquet")
        for name in charts():
            try:
                spec = hw.figure(name, rows).spec
            except hw.InputError:  # not every table has every chart
                continue
            chart = altair.Chart.from_dict(spec)
            assert len(chart.to_dict()["concat"]) == len(spec["concat"])
            read.add(name)
    assert read == set(charts())
