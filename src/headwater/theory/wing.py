"""The declaration of the wing. It imports nothing heavy: torch and pandas wait in its methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from headwater.errors import InputError
from headwater.wings import Options, UnitWorker, Wing

if TYPE_CHECKING:
    import pandas as pd
    import typer


class TheoryWing(Wing):
    """Studies of simulated networks; see `headwater.wings.Wing`."""

    name: ClassVar[str] = "theory"
    key: ClassVar[str] = "theory"
    title: ClassVar[str] = "a study of the theory"
    instead: ClassVar[str] = "`headwater theory plan`, `run` and `plot` are for those"
    names: ClassVar[Mapping[str, str]] = {
        "networks_table": "headwater.theory.analysis.table:networks_table",
        "run_theory": "headwater.theory.facade:run_theory",
        "theory_findings": "headwater.theory.analysis:findings",
    }
    studies: ClassVar[Path] = Path(__file__).parent / "studies"

    def run(self, path: Path, options: Options) -> None:
        from headwater.theory.cli import run_and_show
        from headwater.theory.study import TheoryStudy

        _refuse(
            {
                "--redo": options.redo,
                "--out": options.report,
                "--compile": options.compiled,
                "--device": options.device not in ("auto", "cpu"),
                "--engine": options.engine != "local",
            },
            "run",
        )
        run_and_show(
            TheoryStudy.load(path),
            options.store,
            out=None,
            workers=options.workers,
            quiet=options.quiet,
            as_json=options.as_json,
        )

    def plan(self, path: Path, options: Options) -> None:
        from headwater.theory.cli import show_plan
        from headwater.theory.study import TheoryStudy

        _refuse({"--device": options.device not in ("auto", "cpu")}, "plan")
        show_plan(
            TheoryStudy.load(path), options.store, workers=options.workers, as_json=options.as_json
        )

    def worker(self, setting: dict[str, Any]) -> UnitWorker:
        from headwater.theory.work import NetworkWorker

        return NetworkWorker(setting)

    def commands(self) -> typer.Typer:
        from headwater.theory.cli import theory_app

        return theory_app

    def not_to_report(self, table: Path, rows: pd.DataFrame) -> str | None:
        if not len(rows) or rows["constants"].isna().any():
            return None
        return (
            f"{table}: holds simulated networks alone; `headwater theory plot {table}` draws these"
        )


def _refuse(given: Mapping[str, object], command: str) -> None:
    """Raises InputError for the first option that was given and means nothing to the theory."""
    for option, value in given.items():
        if value:
            raise InputError(
                f"{option}: means nothing to a study of the theory; `headwater theory {command} "
                "--help` has its options"
            )
