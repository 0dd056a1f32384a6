"""The first commands of a newcomer: a study from folders, and its answer."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater import plain
from headwater.cli.options import (
    DEFAULT_STORE,
    DeviceOption,
    JsonOption,
    NewStoreOption,
    WorkersOption,
    hours_of,
    print_json,
)
from headwater.cli.studies import shipped_studies
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.proposal import Proposal

FoldersArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FOLDER...", help="Folders of images that could be pre-trained on."),
]
TaskOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--task", metavar="FOLDER", help="A folder of what matters in the end; can be repeated."
    ),
]
TimeOption = Annotated[
    str,
    typer.Option("--time", metavar="TIME", help="What the study may take here: 30m, 2h."),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The study file to write.")]
SizeOption = Annotated[
    int, typer.Option("--image-size", min=8, max=1024, help="Side of the images, in pixels.")
]
DEFAULT_OUT = Path("study.yaml")
_WORKED = 0.85
"""Share of the time that is spent on arms and cells: the rest goes to starting and looking [ours].
"""
_UNTIL = 0.95


def init(
    folders: FoldersArgument = None,
    task: TaskOption = None,
    time: TimeOption = "30m",
    out: OutOption = DEFAULT_OUT,
    store: NewStoreOption = DEFAULT_STORE,
    image_size: SizeOption = 32,
    demo: Annotated[
        bool, typer.Option("--demo", help="Write the study of a generated world instead.")
    ] = False,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at folders, and write a study of which to pre-train on, and how, for a task.

    Nothing is trained. The study has a comment at each choice and can be edited.
    """
    if demo:
        _write_demo(folders, task, out, as_json)
        return
    _check_asked(folders, task, "init")
    if out.exists():
        raise InputError(f"{out}: exists already; name another file with --out")
    proposal = _proposed(
        folders or [], task or [], time, out, store, image_size, device, workers, quiet=as_json
    )
    wrote = [str(path) for path in proposal.write(out)]
    if as_json:
        print_json({"wrote": wrote, **proposal.as_dict()})
        return
    from headwater.show.proposal import print_proposal

    print_proposal(proposal.as_dict())
    typer.echo(plain.line(f"\nwrote {' and '.join(wrote)}"))
    study = shlex.quote(str(out))
    then = f"headwater run {study} --until 0.95"
    typer.echo(plain.line(f"next: headwater plan {study}; then {then}"))
    typer.echo(plain.line(f"(copies that were changed: headwater tasks leaks {study})"))


def try_(
    folders: FoldersArgument = None,
    task: TaskOption = None,
    time: TimeOption = "30m",
    out: OutOption = DEFAULT_OUT,
    store: NewStoreOption = DEFAULT_STORE,
    image_size: SizeOption = 32,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress display.")] = False,
    as_json: JsonOption = False,
) -> None:
    """From folders to a decision: `init`, then `run` by steps until the answer is 95 % sure or the
    time is spent.

    Can be stopped, and goes on where it was when the same command is given again.
    """
    from headwater.engines.cores import default_workers
    from headwater.proposal.proposed import made_before
    from headwater.store import Store

    _check_asked(folders, task, "try")
    command = _command(folders or [], task or [], time, image_size)
    if made_before(out, command):
        if not as_json:
            typer.echo(plain.line(f"{out} was made by this command; going on with it"))
    else:
        for folder in [*(folders or []), *(task or [])]:
            _check_apart(store, folder)
        Store(store, create=True)
        proposal = _proposed(
            *(folders or [], task or [], time, out, store, image_size, device, workers),
            quiet=quiet or as_json,
        )
        wrote = [str(path) for path in proposal.write(out)]
        if not as_json:
            from headwater.show.proposal import print_proposal

            print_proposal(proposal.as_dict())
            typer.echo(plain.line(f"\nwrote {' and '.join(wrote)}"))
    from headwater.cli import run

    minutes = 60 * hours_of(time, "--time") * (workers or default_workers(device)) * _WORKED
    run(
        str(out),
        store=store,
        device=device,
        workers=workers,
        until=_UNTIL,
        budget=f"{minutes:.1f}m",
        quiet=quiet,
        as_json=as_json,
    )


def _proposed(
    folders: Sequence[Path],
    tasks: Sequence[Path],
    time: str,
    out: Path,
    store: Path,
    image_size: int,
    device: str,
    workers: int | None,
    *,
    quiet: bool,
) -> Proposal:
    from headwater.plan import Looking
    from headwater.proposal import propose
    from headwater.show.looking import LookDisplay

    hours = hours_of(time, "--time")
    with LookDisplay(quiet=quiet) as watch:
        return propose(
            folders,
            tasks,
            hours=hours,
            made_by=_command(folders, tasks, time, image_size),
            folder=out.absolute().parent,
            stem=out.stem,
            cache=store / "cache" if (store / "cache").is_dir() else None,
            image_size=image_size,
            device=device,
            workers=workers,
            looking=Looking(most=None, workers=workers, watch=watch),
        )


def _command(folders: Sequence[Path], tasks: Sequence[Path], time: str, image_size: int) -> str:
    """The command that a study file is the answer to, the same for init and try."""
    words = ["headwater", "init", *map(str, folders)]
    for task in tasks:
        words += ["--task", str(task)]
    words += ["--time", time, *([] if image_size == 32 else ["--image-size", str(image_size)])]
    return plain.name(f"{shlex.join(words)}, in {Path.cwd()}")


def _check_asked(folders: Sequence[Path] | None, tasks: Sequence[Path] | None, word: str) -> None:
    example = f"headwater {word} photos/ renders/ --task inspection/"
    if not folders:
        raise InputError(
            f"name the folders that could be pre-trained on: {example}"
            + (" (`headwater init --demo` writes a study of a generated world)" * (word == "init"))
        )
    studies = [folder for folder in folders if folder.suffix in (".yaml", ".yml")]
    if studies:
        raise InputError(
            f"{studies[0]}: name folders of images, and the file to write with --out: {example} "
            f"--out {studies[0]}"
            + (f"; or headwater init --demo --out {studies[0]}" if word == "init" else "")
        )
    if not tasks:
        raise InputError(f"name a folder of what matters in the end with --task: {example}")


def _check_apart(store: Path, folder: Path) -> None:
    """Raises InputError for a store inside a folder of images."""
    if store.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"the store {store} would lie inside {folder}, where what a run writes would be taken "
            "for data; work in another folder, or name another store with --store"
        )


def _write_demo(
    folders: Sequence[Path] | None, tasks: Sequence[Path] | None, out: Path, as_json: bool
) -> None:
    if folders or tasks:
        raise InputError("--demo writes the demo's study and looks at no folder; leave one out")
    if out.exists():
        raise InputError(f"{out}: exists already; name another file with --out")
    from headwater import files

    try:
        files.write_atomic(out, shipped_studies()["demo"].read_bytes())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    print_json({"wrote": [str(out)]}) if as_json else typer.echo(
        plain.line(f"wrote {out}; edit it, then: headwater plan {out}")
    )
