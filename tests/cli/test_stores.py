"""A store that is damaged or foreign is refused, and redo forgets what it names alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.conftest import Cli, Finished, refused, tiny, write_study


def test_a_store_that_is_none_or_cannot_be_written_is_refused(
    headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "file").write_text("I am a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(headwater("run", study, "--store", store), str(store))
    refused(headwater("run", study, "--store", tmp_path / "full"), "not empty and is no store")
    refused(headwater("status", study, "--store", tmp_path / "full"), "no store here")
    refused(headwater("rows", "--store", tmp_path / "nothing"), "so no store")
    refused(
        headwater("rows", study, "--store", tmp_path / "nothing"), "no such folder, so no store"
    )
    refused(
        headwater("report", study, "--store", tmp_path / "nothing"), "no such folder, so no store"
    )
    assert (tmp_path / "full" / "thesis.doc").read_text() == "mine"


@pytest.mark.parametrize("mark", ["", "{}", "[1]", '{"version": 99}', "\xff", '{"version": "1"}'])
def test_a_damaged_or_foreign_store_mark_is_refused(
    mark: str, headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "headwater-store").mkdir()
    (tmp_path / "headwater-store" / "headwater-store.json").write_bytes(mark.encode("latin-1"))
    for command in ("run", "status", "rows"):
        refused(headwater(command, study), "headwater-store")


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", "[1]", "[{}]", '[{"cell": 3}]', "\xff", "[" * 100_000]
)
def test_a_damaged_rows_file_is_named_and_refused(
    content: str, headwater: Cli, finished: Finished, store: Path
) -> None:
    victim = min((store / "rows").iterdir())
    victim.write_bytes(content.encode("latin-1"))
    refused(headwater("rows", "--store", store), str(victim), "damaged", "remove it")
    refused(headwater("status", finished.study, "--store", store), str(victim), "damaged")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": "x", "status": "done"}', "\xff"])
def test_a_damaged_arm_is_refused_before_anything_runs(
    content: str, headwater: Cli, finished: Finished, store: Path
) -> None:
    victim = min((store / "arms").iterdir()) / "arm.json"
    victim.write_bytes(content.encode("latin-1"))
    for cell in (store / "rows").iterdir():
        cell.unlink()
    refused(
        headwater("run", finished.study, "--store", store, "--device", "cpu", "--quiet"),
        str(victim),
        "remove its folder",
    )


def test_redo_of_what_is_not_there_forgets_nothing(
    headwater: Cli, finished: Finished, store: Path
) -> None:
    before = sorted(store.glob("*/*"))
    real = min((store / "arms").iterdir()).name
    short, unknown = "at least the first 6", "no arm or cell"
    for ids, part in (
        (["nonsense"], unknown),
        ([real, "nonsense"], unknown),
        ([""], short),
        ([real[:1]], short),
        ([real[:5]], short),
    ):
        refused(
            headwater(
                "run",
                finished.study,
                "--store",
                store,
                *[part for one in ids for part in ("--redo", one)],
            ),
            "--redo",
            part,
        )
    assert sorted(store.glob("*/*")) == before


def test_redo_forgets_one_arm_with_its_cells_or_one_cell_and_nothing_that_is_ambiguous(
    finished: Finished, store: Path
) -> None:
    from headwater.errors import InputError
    from headwater.plan import Plan
    from headwater.plan.forgetting import forget
    from headwater.store import Store
    from headwater.study import Study

    plan, opened = Plan.make(Study.load(finished.study)), Store(store)
    first, second = plan.arms[:2]
    alike = dataclasses.replace(second, id=first.id[:8] + "0" * 8)
    two = dataclasses.replace(plan, arms=(first, alike, *plan.arms[2:]))
    with pytest.raises(InputError, match=r"2 arms and cells have ids that begin so"):
        forget(two, opened, [first.id[:7]])
    everything = opened.finished_cells()
    forget(plan, opened, [plan.cells[-1].id[:6]])
    assert everything - opened.finished_cells() == {plan.cells[-1].id}
    forget(plan, opened, [first.id])
    assert everything - opened.finished_cells() == {plan.cells[-1].id} | {
        cell.id for cell in plan.cells if cell.arm.id == first.id
    }
    assert not opened.has_arm(first.id)
    assert opened.has_arm(second.id)
