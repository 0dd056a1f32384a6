"""headwater tasks: downstream tasks, what is on disk, splits, and leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.groups import ShowsByDefault
from headwater.cli.options import (
    DEFAULT_STORE,
    DataOption,
    DeviceOption,
    JsonOption,
    LayoutOption,
    LinksOption,
    NewStoreOption,
    StudyArgument,
    check_root,
    load,
    print_json,
)

_PICTURES = 12
"""Pairs that a page of leaks shows of each source and task."""


tasks_app = typer.Typer(
    name="tasks",
    cls=ShowsByDefault,
    help="Downstream tasks: published sets and folders, what is on disk, and fixed splits.",
)


@tasks_app.command("show")
def show_tasks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FOLDER]",
            help="A published set, or a folder of images; the list of all when left out.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Load what is on disk, and check it against the published sizes; of one task, "
            "open every image, and look for copies however many files there are.",
        ),
    ] = False,
    layout: LayoutOption = None,
    follow_links: LinksOption = False,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """All tasks and whether they are on disk, or one in detail: classes, splits, groups, the layout
    expected. `show` can be left out.
    """
    check_root(data_root)
    from headwater.facts.tasks import list_facts, task_facts
    from headwater.show import tasks as shown

    if name is None:
        facts = list_facts(data_root, verify=verify)
        print_json(facts) if as_json else shown.print_list(facts)
    else:
        from headwater.plan import A_FEW, EVERYTHING
        from headwater.show.looking import LookDisplay

        with LookDisplay(quiet=as_json) as watch:
            looking = replace(EVERYTHING if verify else A_FEW, watch=watch)
            facts = task_facts(
                name,
                data_root,
                layout=layout,
                follow_links=follow_links,
                verify=verify,
                looking=looking,
            )
        print_json(facts) if as_json else shown.print_task(facts)


@tasks_app.command("split")
def split_task(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAME",
            help="A folder of images, here or under the data root, or a published set.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The index file to write: a CSV with the columns path and split.",
        ),
    ],
    test: Annotated[float, typer.Option("--test", help="Share of each class that is test.")] = 0.2,
    val: Annotated[float, typer.Option("--val", help="Share of each class that is val.")] = 0.0,
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed gives the same file anywhere.")
    ] = 0,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="COLUMN", help="A column whose values never lie in two splits."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", metavar="VIEW", help="Stratify by this label view; level:0 when left out."
        ),
    ] = None,
    layout: LayoutOption = None,
    follow_links: LinksOption = False,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a fixed split by key, stratified by class, and write it as an index file for
    `split_file` of a study's data.
    """
    check_root(data_root)
    from headwater.facts.tasks import write_split
    from headwater.show.tasks import print_split

    facts = write_split(
        name,
        out,
        data_root=data_root,
        test=test,
        val=val,
        seed=seed,
        group=group,
        labels=labels,
        layout=layout,
        follow_links=follow_links,
    )
    print_json(facts) if as_json else print_split(facts)


@tasks_app.command("leaks")
def task_leaks(
    study: StudyArgument,
    sheets: Annotated[
        Path | None,
        typer.Option(
            "--sheets",
            metavar="DIR",
            help="Draw the pairs that were found, a PNG for each source and task.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write a page with the pairs to look at: .html."
        ),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            "--arm",
            metavar="ID",
            help="Ask this trained arm's features as well (6 characters of its id will do).",
        ),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            "--clean",
            metavar="DIR",
            help="Write an index file for every source without the images that a test set shows, "
            "and without copies of one another; `split_file` in the study takes it.",
        ),
    ] = None,
    store: NewStoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Test images of a study's tasks that its sources show too: equal files, equal pixels, and
    copies that were compressed, resized, mirrored or cropped.
    """
    from headwater.report import check_leaks_page, save_leaks

    if out is not None:
        check_leaks_page(out)
    resolved, opened = load(study, store, data_root, create=True, verify=True, quiet=as_json)
    assert opened is not None
    from headwater.facts.leaks import leaks_facts
    from headwater.show import leaks as shown

    tell = (lambda line: None) if as_json else shown.tell
    pictures = 0 if out is None else _PICTURES
    facts = leaks_facts(
        resolved,
        opened,
        sheets=sheets,
        pictures=pictures,
        arm=arm,
        clean=clean,
        device=device,
        tell=tell,
    )
    if out is not None:
        facts["page"] = str(save_leaks(facts, out))
        for record in (*facts["pairs"], *facts["own"]):
            record.pop("shown", None)
    print_json(facts) if as_json else shown.print_leaks(facts)
