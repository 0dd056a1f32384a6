"""`headwater curves`: what it reads of finished arms and of arms in training, whatever state their
files are in, and how it refuses.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import digests
from headwater.facts.curves import read_metrics
from tests.conftest import Cli, Finished, refused, tiny, write_study


def lines(*points: Any, end: str = "\n") -> bytes:
    return ("\n".join(json.dumps(point) for point in points) + end).encode()


def table(answer: tuple[int, str, str]) -> dict[str, dict[str, Any]]:
    code, out, err = answer
    assert code == 0, err
    return {arm["method"]: arm for arm in json.loads(out)["arms"]}


# files of metrics
def test_todays_files_tell_images_by_step_and_batch_up_to_the_budget() -> None:
    points, unreadable = read_metrics(
        lines({"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 3, "loss": 1.0, "lr": 0.0}),
        batch=32,
        images_seen=90,
    )
    assert points == [
        {"step": 1, "loss": 2.0, "lr": 0.1, "images": 32},
        {"step": 3, "loss": 1.0, "lr": 0.0, "images": 90},
    ]
    assert unreadable == 0


def test_what_is_told_of_images_is_taken_and_unknown_keys_are_not() -> None:
    (point,), _ = read_metrics(
        lines({"step": 2, "images": 77, "knn": 0.5, "note": "x", "loss": None, "lr": True}),
        batch=32,
        images_seen=90,
    )
    assert point == {"step": 2, "images": 77, "knn": 0.5}


def test_lines_of_one_step_add_up_and_a_later_one_wins() -> None:
    """The probe's look has a line of its own; a run that went on from a checkpoint tells a step
    again.
    """
    text = lines(
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "knn": 0.4},
        {"step": 1, "loss": 3.5},
        {"step": 3, "loss": 1.0},
    )
    points, _ = read_metrics(text, batch=10, images_seen=100)
    assert [(p["step"], p["loss"], p.get("knn")) for p in points] == [
        (1, 3.5, None),
        (2, 2.0, 0.4),
        (3, 1.0, None),
    ]


@given(st.integers(0, 200))
def test_a_file_that_is_being_written_never_fails_and_keeps_its_whole_lines(cut: int) -> None:
    whole = lines({"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.0})
    points, unreadable = read_metrics(whole[:cut], batch=10, images_seen=100)
    assert unreadable == 0
    assert len(points) - whole[:cut].count(b"\n") in (0, 1), (
        "the last line may be whole already, but for its end"
    )


@pytest.mark.parametrize(
    "broken",
    [
        b'{"step": 2, "lo',
        b"\xff\xfe\x00",
        b"[]",
        b"7",
        b"null",
        b'{"loss": 1.0}',
        b"[" * 100_000,
        b'{"step": "2"}',
    ],
)
def test_a_line_that_a_kill_cut_off_is_left_out_and_counted(broken: bytes) -> None:
    points, unreadable = read_metrics(
        lines({"step": 1, "loss": 3.0}) + broken + b"\n" + lines({"step": 3, "loss": 1.0}),
        batch=10,
        images_seen=100,
    )
    assert [p["step"] for p in points] == [1, 3]
    assert unreadable == 1


def test_numbers_that_are_not_finite_are_no_numbers() -> None:
    text = (
        b'{"step": 1, "loss": NaN, "lr": 0.1, "grad_norm": Infinity}\n{"step": 2, "loss": 1'
        + b"0" * 400
        + b"}\n"
    )
    points, unreadable = read_metrics(text, batch=10, images_seen=100)
    assert points == [{"step": 1, "lr": 0.1, "images": 10}, {"step": 2, "images": 20}]
    assert unreadable == 0


@given(st.binary(max_size=200))
def test_no_bytes_whatever_make_it_fail(text: bytes) -> None:
    read_metrics(text, batch=10, images_seen=100)


# the command
def test_a_finished_study_shows_each_trained_arm_and_no_other(
    headwater: Cli, finished: Finished
) -> None:
    found = table(headwater("curves", finished.study, "--store", finished.store, "--json"))
    assert set(found) == {"supervised", "simclr", "clip"}
    for arm in found.values():
        assert (
            arm["status"],
            arm["step"],
            arm["steps"],
            arm["images"],
            arm["unreadable_lines"],
        ) == ("done", 40, 40, 40 * 32, 0)
        told = [
            json.loads(line)
            for line in (finished.store / "arms" / arm["arm"] / "metrics.jsonl")
            .read_text()
            .splitlines()
        ]
        assert [p["loss"] for p in arm["points"]] == [p["loss"] for p in told if "loss" in p]
        assert arm["loss"] == told[-1]["loss"]
        record = json.loads((finished.store / "arms" / arm["arm"] / "arm.json").read_text())
        assert arm["images_per_s"] == pytest.approx(
            told[-1].get("images_per_s", record["images_seen"] / record["seconds"])
        )


def test_the_table_for_people_has_a_line_an_arm(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    code, out, err = headwater(
        "curves", finished.study, "--store", finished.store, "--out", "new/curves.svg"
    )
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows if "40 of 40" in " ".join(row)] == [
        "supervised",
        "simclr",
        "clip",
    ]
    assert "last loss" in out
    assert out.splitlines()[-1] == "chart: new/curves.svg"
    assert "training loss" in (tmp_path / "new" / "curves.svg").read_text()


def test_an_arm_in_training_is_read_live_and_one_that_waits_is_named(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    before = table(headwater("curves", finished.study, "--store", store, "--json"))
    live, waits = before["simclr"]["arm"], before["clip"]["arm"]
    for gone in (live, waits):
        shutil.rmtree(store / "arms" / gone)
    (store / "partial" / live).mkdir(parents=True)
    told = (
        lines(
            {"step": 5, "loss": 3.0, "images_per_s": 70.0},
            {"step": 10, "loss": 2.5, "knn": 0.125, "images_per_s": 80.0},
        )
        + b'{"step": 1'
    )
    (store / "partial" / live / "metrics.jsonl").write_bytes(told)
    found = table(headwater("curves", finished.study, "--store", store, "--json"))
    one = found["simclr"]
    assert [one[k] for k in ("status", "step", "steps", "images", "loss", "knn")] == [
        "unfinished",
        10,
        40,
        320,
        2.5,
        0.125,
    ]
    assert one["images_per_s"] == 80.0
    assert [found["clip"][k] for k in ("status", "step", "loss", "images_per_s", "points")] == [
        "waiting",
        None,
        None,
        None,
        [],
    ]
    assert found["supervised"]["status"] == "done"
    code, out, _ = headwater("curves", finished.study, "--store", store)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("simclr")]
    assert line.split()[-9:] == ["0", "10", "of", "40", "2.5", "12.5", "%", "80", "unfinished"]


def test_an_arm_that_diverged_is_said_to_have(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    arm = table(headwater("curves", finished.study, "--store", store, "--json"))["simclr"]["arm"]
    record = json.loads((store / "arms" / arm / "arm.json").read_text())
    (store / "arms" / arm / "arm.json").write_text(
        json.dumps(
            {k: v for k, v in digests.unsealed(record).items() if k not in ("steps", "files")}
            | {"status": "diverged", "reason": "nan"}
        )
    )
    (store / "arms" / arm / "metrics.jsonl").write_bytes(
        lines({"step": 3, "loss": 9.0}) + b"cut\n" + lines({"step": 4, "loss": float("nan")})
    )
    found = table(headwater("curves", finished.study, "--store", store, "--json"))["simclr"]
    assert (found["status"], found["step"], found["loss"], found["unreadable_lines"]) == (
        "diverged",
        4,
        9.0,
        1,
    )
    code, out, _ = headwater("curves", finished.study, "--store", store, "--out", "c.html")
    assert code == 0
    assert "diverged" in out
    assert f"note: a line of {arm}/metrics.jsonl could not be read" in " ".join(out.split())


def test_brackets_in_names_are_no_markup_in_the_terminal(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    from headwater.show.curves import print_curves

    unknown = dict.fromkeys(("step", "loss", "knn", "images_per_s"))
    arm = {
        "title": "supervised · [bold]x[/bold]",
        "seed": 0,
        "status": "waiting",
        "steps": 4,
        "unreadable_lines": 0,
        **unknown,
    }
    import headwater.show.curves as room

    with room._console.capture() as captured:
        print_curves({"study": "[red]s", "arms": [arm]})
    assert "[bold]x[/bold]" in captured.get()


def test_a_study_of_scratch_arms_has_no_curves(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "scratch.yaml", tiny(methods=["scratch"], sources=[]))
    code, out, _ = headwater("curves", study, "--store", finished.store)
    assert code == 0
    assert "no arm of this study is trained" in out
    refused(
        headwater("curves", study, "--store", finished.store, "--out", "c.svg"),
        "no arm of tiny-world has a curve yet",
        "headwater run",
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("missing.yaml",), ("missing.yaml", "no such study file")),
        (("{study}",), ("there is no store here", "headwater run")),
        (("{study}", "--store", "file"), ("file",)),
        (("{study}", "--store", "{store}", "--out", "curves.gif"), (".svg, .png, .pdf, .html",)),
        (("{study}", "--store", "{store}", "--out", "curves"), (".svg, .png, .pdf, .html",)),
        (
            ("{study}", "--store", "{store}", "--out", "file/curves.svg"),
            ("file/curves.svg", "cannot be written"),
        ),
        (
            ("{study}", "--store", "{store}", "--out", "folder.svg"),
            ("folder.svg", "cannot be written"),
        ),
        (
            ("{study}", "--store", "{store}", "--data-root", "nowhere"),
            ("nowhere", "no such folder"),
        ),
    ],
)
def test_bad_paths_are_one_line(
    headwater: Cli,
    finished: Finished,
    tmp_path: Path,
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "folder.svg" / "x").write_text("")
    named = [argument.format(study=finished.study, store=finished.store) for argument in arguments]
    refused(headwater("curves", *named), *parts)
    assert not list(tmp_path.glob("**/*.tmp"))


def test_metrics_that_are_a_folder_are_one_line(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    arm = table(headwater("curves", finished.study, "--store", store, "--json"))["simclr"]["arm"]
    (store / "arms" / arm / "metrics.jsonl").unlink()
    (store / "arms" / arm / "metrics.jsonl").mkdir()
    refused(headwater("curves", finished.study, "--store", store), "metrics.jsonl", "directory")
