"""`headwater decide`: of a table, of a store, of a study; options, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headwater.analysis import Prices, prepare
from headwater.cli.asking import prices_of
from headwater.cli.options import print_json
from headwater.rows import write_rows
from tests.analysis.synthetic import synthetic_rows
from tests.conftest import Cli, Finished, refused, tiny, write_study


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = synthetic_rows(tasks=("birds", "scenes"), noise=0.004, failures=False)
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    write_rows(rows, path)
    return path


def test_a_table_is_decided_in_text_and_in_json(headwater: Cli, table: Path) -> None:
    code, out, err = headwater("decide", table)
    assert (code, err) == (0, "")
    assert out.startswith("supervised level:1 · photos is the best.\n")
    assert "finetune, all images, birds and scenes, 3 seeds" in out
    assert "By protocol and images" in out
    code, out, _ = headwater("decide", table, "--json")
    words = json.loads(out)
    assert (code, words["best"], words["sure"]) == (0, "supervised level:1 · photos", True)
    assert len(words["lines"]) == 6


def test_what_the_uncertainty_is_made_of_is_said_in_text_and_in_json(
    headwater: Cli, table: Path
) -> None:
    _, out, _ = headwater("decide", table, "--shots", "5")
    assert "  Variance of its lead: seed " in out and "To halve its interval on these" in out
    _, tables, _ = headwater("decide", table, "--shots", "5", "--variance")
    assert "What halves the interval" in tables
    _, out, _ = headwater("decide", table, "--shots", "5", "--json")
    variance = json.loads(out)["variance"]
    shares = [part["share"] for part in variance["components"] if part["share"] is not None]
    assert sum(shares) == pytest.approx(1)


def test_options_say_what_is_decided_by(headwater: Cli, table: Path) -> None:
    options = ("--shots", "1", "--shots", "5", "--weight", "birds=3", "--tolerance", "2")
    _, out, _ = headwater("decide", table, "--protocol", "finetune", *options, "--json")
    words = json.loads(out)
    assert (words["shots"], words["tolerance"]) == ([1, 5], 0.02)
    _, out, _ = headwater("decide", table, "--protocol", "finetune", "--json")
    assert json.loads(out)["shots"] == [1, 5, "full"]


def test_prices_of_the_command_line_stand_before_those_of_the_study(
    headwater: Cli, table: Path, finished: Finished, tmp_path: Path
) -> None:
    _, out, _ = headwater("decide", table, "--price", "image=0.5", "--price", "label:level:1=2")
    assert "  Price: 50,000.\n" in out and "price\n" in out  # of 20,000 images
    study = write_study(tmp_path / "study.yaml", tiny(decide={"prices": {"label": 3, "image": 1}}))
    _, out, _ = headwater(
        "decide", study, "--store", finished.store, "--json", "--price", "label=5"
    )
    assert json.loads(out)["prices"] == {"image": 1, "label": 5, "caption": 0, "gpu_hour": 0}


def test_a_price_of_one_view_leaves_the_others_theirs() -> None:
    table = prepare(synthetic_rows())
    for of_study in (
        Prices(label=0.02, image=1.0),
        Prices(label={"level:0": 0.02, "level:2": 0.02}),
    ):
        found = prices_of(["label:level:1=5"], of_study, table)
        assert found.label == {"level:0": 0.02, "level:1": 5.0, "level:2": 0.02}
        assert found.image == of_study.image
    assert prices_of(["label:level:1=5"], None, table).label == {"level:1": 5.0}


def test_json_has_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    nan, inf = float("nan"), float("inf")
    print_json({"a": [nan, (inf, 1.5)], "b": {"c": -inf, "d": True}, "e": np.float64("nan")})
    words = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert words == {"a": [None, [None, 1.5]], "b": {"c": None, "d": True}, "e": None}


def test_a_store_and_a_study_are_decided(headwater: Cli, finished: Finished) -> None:
    code, out, _ = headwater("decide", finished.store, "--json")
    of_store = json.loads(out)
    assert code == 0 and of_store["protocol"] == "finetune"
    code, out, _ = headwater("decide", finished.study, "--store", finished.store, "--json")
    assert (code, json.loads(out)) == (0, of_store)


def test_the_block_of_a_study_says_what_is_decided_by(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    """It changes no arm and no cell."""
    words = tiny(decide={"protocol": "probe", "tolerance": 3})
    study = write_study(tmp_path / "study.yaml", words)
    _, out, _ = headwater("decide", study, "--store", finished.store, "--json")
    found = json.loads(out)
    assert (found["protocol"], found["tolerance"]) == ("probe", 0.03)
    _, out, _ = headwater("plan", study, "--store", finished.store, "--json", "--device", "cpu")
    assert json.loads(out)["cells"]["new"] == 0


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"protocol": "knn"}, "decide.protocol: the study does not measure knn, only"),
        ({"weights": {"cars": 2}}, "decide.weights.cars: 'cars' is not defined"),
        ({"tolerance": -1}, "decide.tolerance"),
        ({"shots": 0}, "decide.shots"),
        ({"seeds": 3}, "decide.seeds"),
        ({"prices": {"lable": 1}}, "did you mean 'label'"),
        ({"prices": {"image": -1}}, "decide.prices.image"),
        ({"prices": {"label": {"random:3": 1}}}, "nobody has to assign the labels random:3"),
        ({"prices": {"label": {"c": 1}}}, "'c' is not defined"),  # nor a letter of `captions`
        ({"prices": {"label": {"levl:0": 1}}}, "'levl:0' is not defined; did you mean 'level:0'"),
    ],
)
def test_a_block_that_cannot_be_meant_is_refused_with_its_line(
    block: dict[str, object], said: str, headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny(decide=block))
    refused(headwater("decide", study), "study.yaml, line ", said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--protocol", "knn"), "the rows have no protocol 'knn'"),
        (("--shots", "none"), "--shots: 'none' is neither a number of images from 1 nor full"),
        (("--shots", "7"), "no cell with 7 images per class"),
        (("--weight", "birds"), "--weight: 'birds' is not TASK=NUMBER"),
        (("--weight", "birds=-1"), "--weight: 'birds=-1' is not TASK=NUMBER"),
        (("--weight", "cars=2"), "the rows have no task 'cars'"),
        (("--price", "lable=2"), "or label:VIEW; did you mean 'label'?"),
        (("--price", "image:big=2"), "--price: 'image:big=2' is not WHAT=NUMBER"),
        (("--price", "label=-2"), "--price: 'label=-2' has no number from 0"),
        (("--price", "gpu_hour=nan"), "--price: 'gpu_hour=nan' has no number from 0"),
        (("--price", "label:level:7=2"), "no arm has labels 'level:7'"),
        (("--price", "label=1", "--price", "label:level:1=2"), "not both"),
        (("--price", "image=1e308"), "--price: 'image=1e308' has no number from 0 to 1e15"),
        (("--price", "image=1", "--price", "image=2"), "--price: image is given twice"),
        (
            ("--price", "label:level:1=1", "--price", "label:level:1=2"),
            "--price: label:level:1 is given twice",
        ),
        (("--price", "label:random:57=1"), "'random:57': nobody has to assign them"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    options: tuple[str, ...], said: str, headwater: Cli, table: Path
) -> None:
    refused(headwater("decide", table, *options), said)


def test_without_rows_there_is_nothing_to_decide(headwater: Cli, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    refused(headwater("decide", study), "there is no store yet; run the study first")
    write_rows(synthetic_rows().iloc[:0], tmp_path / "empty.csv")
    refused(
        headwater("decide", tmp_path / "empty.csv"), "has no rows, so there is nothing to decide"
    )
    refused(headwater("decide", tmp_path / "nothing.parquet"))
