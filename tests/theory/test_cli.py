"""headwater theory: what each command shows, and that every mistake is one line with exit code
2.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from headwater.rows import read_rows, write_rows
from headwater.store import Store
from headwater.theory.study import TheoryStudy
from headwater.theory.work import networks, run_networks
from tests.conftest import Cli, refused

QUICK = (
    "--set",
    "d=24",
    "--set",
    "width=4",
    "--set",
    "batch=32",
    "--set",
    "max_steps=60",
    "--set",
    "test_samples=40",
    "--workers",
    "1",
)
SWEEP = """\
study: rare
question: What?
seeds: 2
theory:
  one: {subclasses: [1, 2, 3], sigma_star: [0, 1], looks: 3, d: 24, width: 4, batch: 32,
    max_steps: 60, test_samples: 40}
  u: {subclasses: 3, labels: [coarse, fine, instance], read_outs: tuned, neurons: 48,
    train_samples: 24, d: 24, batch: 32, max_steps: 20, tune_steps: 5}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "rare.yaml"
    path.write_text(SWEEP)
    return path


@pytest.mark.slow
def test_a_sweep_from_options_is_trained_told_and_kept(headwater: Cli) -> None:
    code, out, _ = headwater(
        "theory", "run", "--subclasses", "1,3", "--seeds", "2", *QUICK, "--json"
    )
    records = json.loads(out)
    assert code == 0
    assert sorted({(one["subclasses"], one["labels"], one["seed"]) for one in records}) == [
        (k, labels, seed) for k in (1, 3) for labels in ("coarse", "fine") for seed in (0, 1)
    ]
    assert all(
        one["status"] == "done" and 0 <= one["hard_error"] <= 1 and one["d"] == 24
        for one in records
    )
    code, again, _ = headwater("theory", "run", "-k", "1,3", "--seeds", "2", *QUICK, "--json")
    assert (code, json.loads(again)) == (0, records), "the second run shows what is there"
    code, out, _ = headwater("theory", "run", "-k", "1,3", "--seeds", "2", *QUICK, "--quiet")
    assert code == 0 and "hard error" in out and "coarse labels leave" in out
    code, out, _ = headwater("theory", "plan", "-k", "1,3", "--seeds", "3", *QUICK, "--json")
    assert json.loads(out)["networks"] == {"total": 12, "kept": 8, "new": 4}


def test_the_shipped_sweep_is_planned_with_no_store(headwater: Cli, tmp_path: Path) -> None:
    code, out, _ = headwater("theory", "plan")
    assert code == 0 and "networks" in out and "transition" in out and "minutes" in out
    facts = json.loads(headwater("theory", "plan", "--json")[1])
    assert facts["networks"]["total"] >= 200
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


@pytest.mark.slow
def test_a_study_is_run_by_either_command_drawn_and_drawn_again_from_its_rows(
    headwater: Cli, study: Path, tmp_path: Path
) -> None:
    code, _, err = headwater("run", study, "--workers", "1", "--quiet")
    assert code == 0, err
    code, out, err = headwater(
        "theory", "run", study, "--workers", "1", "--out", "rows.csv", "--json"
    )
    table = json.loads(out)
    assert code == 0 and {one["sweep"] for one in table} == {"one", "u"}
    assert set(read_rows(tmp_path / "rows.csv")["status"]) == {"done"}
    code, out, _ = headwater("theory", "plot", study, "--out", "figures.html", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["figures"] == ["figures.html"]
    answered = {name for name, answer in facts["answers"].items() if answer["answered"]}
    assert facts["networks"] == 18 and answered >= {"errors", "ratio", "curve", "gradual", "phase"}
    page = (tmp_path / "figures.html").read_text()
    assert "Errors against the number of subclasses" in page and "http://" not in page.replace(
        "http://www.w3.org", ""
    )
    (tmp_path / "headwater-store").rename(tmp_path / "elsewhere")
    code, out, _ = headwater("theory", "plot", "rows.csv", "--out", "figures.svg", "--json")
    from_rows = json.loads(out)
    assert code == 0 and (tmp_path / "figures.svg").read_bytes().startswith(b"<svg")
    assert from_rows["answers"] == facts["answers"], "rows are enough"


@pytest.mark.slow
def test_failed_networks_are_exit_code_1_and_a_row_that_says_why(
    headwater: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater.engines import local

    broken = (
        "from headwater.theory.work import running\nrunning.run_networks = None\n"
        "from headwater.engines import worker\nworker.main()"
    )
    monkeypatch.setattr(local, "COMMAND", [sys.executable, "-c", broken])
    code, out, _ = headwater("theory", "run", "-k", "2", "--seeds", "1", *QUICK, "--json")
    assert code == 1 and {one["status"] for one in json.loads(out)} == {"failed"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "-k", "0"), ("--subclasses", "greater than or equal to 1")),
        (("run", "-k", "2", "--set", "subclasses=3"), ("subclasses", "given twice")),
        (("run", "--set", "d=24", "--set", "d=32"), ("d: is given twice",)),
        (("run", "--set", "seeds=5"), ("--seeds",)),
        (("run", "--set", "width=abc"), ("--set width", "abc")),
        (
            (
                "run",
                "-k",
                "1",
                "--seeds",
                "1",
                "--set",
                "d=1000000",
                "--set",
                "train_samples=1000000",
            ),
            ("GiB", "train_samples"),
        ),
        (
            ("plan", "--seeds", "10000", "-k", "1,2,4,8,16", "--set", "lr=1,2,3"),
            ("300,000", "at most 200,000"),
        ),
        (("run", "--set", "iota=0.9", "--set", "s=1"), ("without any patch",)),
        (("run", "-k", "many"), ("--subclasses", "many")),
        (("run", "-k", "64"), ("at least 2 + 2k = 130",)),
        (("run", "--labels", "corse"), ("'corse'", "coarse")),
        (("run", "--labels", "merge:3", "-k", "4"), ("merge:3",)),
        (("run", "--set", "sigma_zetta=1"), ("did you mean 'sigma_zeta'?",)),
        (("run", "--set", "d"), ("write NAME=VALUE",)),
        (("run", "--set", "hard_share=1.5"), ("--set hard_share", "1.5")),
        (("run", "--set", "lr=nan"), ("--set lr", "nan")),
        (("run", "--set", "precision=fp16"), ("--set precision", "fp16")),
        (("run", "--seeds", "0"), ("--seeds",)),
        (("run", "--seeds", "1,1"), ("--seeds",)),
        (("run", "theory", "-k", "2"), ("options describe a sweep of their own",)),
        (("run", "nowhere.yaml"), ("nowhere.yaml: there is no such study file",)),
        (("run", "demo"), ("is a study of images",)),
        (("run", "-k", "1", "--seeds", "1", "--out", "rows.txt"), ("rows.txt", ".csv")),
        (("plan", "nowhere.yaml"), ("there is no such study file",)),
        (("plot",), ("there is no store here", "headwater theory run")),
        (("plot", "rows.csv", "-k", "2"), ("is a table of rows",)),
        (("plot", "--out", "figures.gif"), ("figures.gif",)),
        (("plot", "rows.csv"), ("rows.csv",)),
        (("hardness", "theory"), ("is a study of the theory",)),
    ],
)
def test_a_mistake_is_one_line(
    headwater: Cli, arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(headwater("theory", *arguments), *said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("subclasses: 3,", "subclasses: 3.5,"), ("line 7", "theory.u.subclasses")),
        (("neurons: 48", "neuron: 48"), ("line 7", "neurons")),
        (
            ("labels: [coarse, fine, instance]", "labels: [coarse, fein]"),
            ("line 7", "theory.u", "fein"),
        ),
        (("neurons: 48", "neurons: 50"), ("line 7", "theory.u", "evenly")),
        (
            (
                "labels: [coarse, fine, instance], read_outs: tuned",
                "labels: [coarse, shuffle:4], read_outs: max",
            ),
            ("line 7", "theory.u", "tuned alone"),
        ),
        (("seeds: 2", "seeds: two"), ("line 3", "seeds")),
        (("theory:", "theories:"), ("theor",)),
        (("d: 24, width: 4", "d: 4, width: 4"), ("line 5", "theory.one", "2 + 2k")),
    ],
)
def test_a_mistake_in_a_study_names_its_line(
    headwater: Cli, study: Path, changed: tuple[str, str], said: tuple[str, ...]
) -> None:
    study.write_text(SWEEP.replace(*changed))
    refused(headwater("theory", "run", study), *said)


@pytest.mark.slow
def test_a_sweep_from_options_is_drawn_by_the_same_options_and_what_is_not_there_is_said(
    headwater: Cli, tmp_path: Path
) -> None:
    sweep = ("-k", "1,3", "--seeds", "2", *QUICK[:-2])
    assert headwater("theory", "run", *sweep, "--quiet", "--workers", "1")[0] == 0
    code, out, _ = headwater("theory", "plot", *sweep, "--out", "own.svg")
    assert code == 0 and (tmp_path / "own.svg").exists() and "beware" not in out
    code, out, _ = headwater(
        "theory", "plot", "-k", "1,3", "--seeds", "3", *QUICK[:-2], "--out", "own.svg"
    )
    assert code == 0 and "4 networks of this study are not there yet" in out
    refused(
        headwater("theory", "plot", "-k", "5", *QUICK[:-2]), "no network of theory is there yet"
    )


@pytest.mark.slow
def test_networks_that_diverged_are_counted_where_means_are_shown(headwater: Cli) -> None:
    code, out, _ = headwater(
        "theory", "run", "-k", "2", "--seeds", "2", *QUICK, "--set", "init=0.02,1e38", "--quiet"
    )
    assert code == 0 and "4 networks diverged" in out


@pytest.mark.parametrize(
    "option", [("--redo", "abcdef"), ("--out", "r.html"), ("--compile",), ("--device", "cuda")]
)
def test_options_that_mean_nothing_to_the_theory_are_refused(
    headwater: Cli, study: Path, option: tuple[str, ...]
) -> None:
    refused(headwater("run", study, *option), option[0], "means nothing to a study of the theory")


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of one small network, as a CSV file holds them."""
    axes = "subclasses: 1, labels: coarse, d: 24, width: 4, batch: 32, max_steps: 5"
    sweep = f"study: small\nseeds: 1\ntheory:\n  one: {{{axes}, test_samples: 10}}\n"
    folder = tmp_path_factory.mktemp("small")
    (folder / "study.yaml").write_text(sweep)
    made = TheoryStudy.load(folder / "study.yaml")
    store = Store(folder / "store", create=True)
    run_networks(networks(made), made.study, store)
    write_rows(read_rows(store.root), folder / "rows.csv")
    return pd.read_csv(folder / "rows.csv", dtype=object)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("constants", "{}"),
        ("constants", "not json"),
        ("constants", "[1]"),
        ("recipe", None),
        ("num_labels", None),
    ],
)
def test_damaged_rows_name_their_column(
    headwater: Cli, small_table: pd.DataFrame, tmp_path: Path, column: str, value: str | None
) -> None:
    table = small_table.assign(**{column: value})
    table.to_csv(tmp_path / "rows.csv", index=False)
    refused(headwater("theory", "plot", "rows.csv"), column)


@pytest.mark.slow
def test_tables_are_concluded_about_without_torch(tmp_path: Path) -> None:
    """Concluding needs no model: rows are read where torch cannot be imported."""
    import subprocess

    rows = read_rows(Path(__file__).parents[2] / "docs" / "results" / "theory.parquet")
    rows[rows["study"].str.contains("u-width")].to_parquet(tmp_path / "rows.parquet")
    blocked = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ImportError('torch is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from headwater import cli\n"
        "sys.exit(cli._guarded(cli.app))\n"
    )
    command = ("theory", "plot", str(tmp_path / "rows.parquet"), "--out", str(tmp_path / "f.svg"))
    done = subprocess.run(
        [sys.executable, "-c", blocked, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_rows_of_other_arms_are_no_simulated_networks(headwater: Cli, tmp_path: Path) -> None:
    rows = read_rows(Path(__file__).parents[2] / "docs" / "results" / "hardness.parquet")
    rows.to_parquet(tmp_path / "photos.parquet")
    refused(headwater("theory", "plot", "photos.parquet"), "there is no row of a simulated network")


def test_what_headwater_offers_of_the_wing_is_what_it_declares() -> None:
    import headwater as hw
    from headwater.theory.analysis import findings
    from headwater.theory.analysis.table import networks_table
    from headwater.theory.facade import run_theory

    assert hw.run_theory is run_theory
    assert hw.networks_table is networks_table
    assert hw.theory_findings is findings
    assert {"run_theory", "networks_table", "theory_findings"} <= {*hw.__all__} & {*dir(hw)}


def test_a_study_of_the_theory_is_no_study_of_images() -> None:
    import headwater as hw

    with pytest.raises(hw.InputError, match="headwater theory"):
        hw.Study(study="x", theory={})


def test_plan_and_run_know_whose_study_a_file_is(headwater: Cli, study: Path) -> None:
    wing = json.loads(headwater("theory", "plan", study, "--json")[1])
    assert json.loads(headwater("plan", study, "--json")[1]) == wing
    assert wing["networks"]["total"] == 18
    refused(headwater("plan", study, "--device", "cuda"), "--device: means nothing to a study of")
    for command in ("status", "curves", "report"):
        refused(headwater(command, study), "is a study of the theory: `headwater theory plan`")


def test_a_table_of_simulated_networks_alone_has_no_report(headwater: Cli, tmp_path: Path) -> None:
    rows = read_rows(Path(__file__).parents[2] / "docs" / "results" / "theory.parquet")
    rows.head(50).to_parquet(tmp_path / "rows.parquet")
    refused(headwater("report", "rows.parquet"), "`headwater theory plot rows.parquet` draws these")


@pytest.mark.slow
def test_the_hardness_of_real_studies_answers_to_the_wings_name_too(headwater: Cli) -> None:
    answers = Path(__file__).parents[2] / "docs" / "results" / "hardness_answers.parquet"
    code, out, _ = headwater("theory", "hardness", answers, "--json")
    assert code == 0 and out == headwater("hardness", answers, "--json")[1]
