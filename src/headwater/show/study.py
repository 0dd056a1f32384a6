"""What the command line shows, as text."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from headwater import plain
from headwater.analysis.words import count, listed, rate_word
from headwater.engines.schedule import Event, Pending
from headwater.show.console import console, name_of
from headwater.show.times import time_words

if TYPE_CHECKING:
    from headwater.steps import Step

_console = console(soft_wrap=True, highlight=False)
_NO_STORE = "no store yet, so nothing is done: `headwater run` makes one"
_MOST = 12
"""Arms that are named."""
_GUESSED = "a guess: `headwater plan --fresh` measures this machine, and a run corrects it"


def print_plan(facts: dict[str, Any]) -> None:
    """The plan as tables, seeds folded together."""
    question = f": {escape(plain.line(facts['question']))}" if facts["question"] else ""
    _console.print(f"[bold]{name_of(facts['study'])}[/bold]{question}")
    _console.print(_arms_table(facts["arms"]))
    _console.print(tasks_table(facts["tasks"]))
    if facts["store"] is None:
        _console.print(_NO_STORE, markup=False)
    cells, cost = facts["cells"], facts["cost"]
    _console.print(
        f"cells: {cells['total']} ({cells['new']} new, {cells['kept']} kept, {cells['orphaned']} "
        f"orphaned); {facts['shared']} shared by equal arms"
    )
    for fault in facts["faults"]:
        _console.print(plain.line(fault), markup=False, style="red")
    for note in facts["notes"]:
        _console.print(plain.line(f"note: {note}"), markup=False)
    how = f"measured on {cost['measured']}" if cost["measured"] else _GUESSED
    rate = rate_word(cost["images_per_s"])
    _console.print(
        f"to do: {cost['pretrain_images']:,} images of pre-training, {cost['finetune_images']:,} "
        f"of fine-tuning, {cost['flops']:.2e} FLOPs, about "
        f"{_hours(cost['hours'])} with {facts['workers']} workers at {rate} images/s each "
        f"({how}), {cost['disk_mb']:,.0f} MB of disk"
    )
    free = cost["disk_free_mb"]
    if free is not None and free < cost["disk_mb"]:
        _console.print(
            f"the disk of the store has {free:,.0f} MB free, which is less: a run would end before "
            "it is done; free some, or name another place with --store",
            style="red",
            markup=False,
        )


def _arms_table(arms: list[dict[str, Any]]) -> Table:
    table = Table("arm", box=None, header_style="bold")
    table.columns[0].no_wrap = True
    headings = ("images", "classes", "images seen", "steps", "seeds", "trained", "cells", "done")
    for heading in headings:
        table.add_column(heading, justify="right")
    same: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for arm in arms:
        key = arm["method"], arm.get("source"), arm.get("labels"), arm.get("size")
        same.setdefault(key, []).append(arm)
    for (*names, size), seeds in same.items():
        size_word = None if size in (None, "all") else f"{size} images"
        title = " · ".join(str(name) for name in (*names, size_word) if name)
        first = seeds[0]
        numbers = [
            first["images"] or None,
            first["classes"],
            first["images_seen"] or None,
            first["steps"] or None,
            len(seeds),
        ]
        sums = [_sum(seeds, count) for count in ("trained", "cells", "cells_done")]
        table.add_row(
            name_of(title),
            *("-" if number is None else f"{number:,}" for number in numbers),
            *map(str, sums),
        )
    return table


def _sum(arms: list[dict[str, Any]], count: str) -> int:
    return sum(arm[count] for arm in arms)


def tasks_table(tasks: list[dict[str, Any]]) -> Table:
    """The tasks of a plan, or of an outline of one."""
    table = Table("task", "classes", "train", "val", "test", "", box=None, header_style="bold")
    for task in tasks:
        table.add_row(
            name_of(task["task"]),
            *(f"{task[count]:,}" for count in ("classes", "train", "val", "test")),
            "val is cut from train" if task["val_from"] == "train" else "",
        )
    return table


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"


@contextlib.contextmanager
def watched(todo: Pending, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A display of a run."""
    from headwater.show.display import RunDisplay

    if not todo.cells:
        yield lambda event: None
        return
    with RunDisplay(
        arms=len(todo.arms), cells=len(todo.cells), console=console(errors=True), quiet=quiet
    ) as display:
        yield display


def say_faults(faults: list[str]) -> None:
    """Sources and tasks that are broken, before the others are computed."""
    errors = console(errors=True, soft_wrap=True, highlight=False)
    for fault in faults:
        errors.print(plain.line(fault), markup=False, style="red")


def say_detached(study: str, left: dict[str, Any]) -> None:
    """What becomes of a study whose workers were submitted."""
    _console.print(
        f"{left['arms']} arms and {left['cells']} cells are with the workers that were submitted; "
        f"`headwater status {study}` shows how far they are, and the same command without --detach "
        "follows them and writes the report",
        markup=False,
    )


def say_verdict(facts: dict[str, Any]) -> None:
    """The end of a run, in text."""
    did = _did(facts)
    _console.print(f"\n{did}; {facts['done']} of {facts['cells']} cells done", markup=False)
    if facts["diverged"]:
        _console.print(
            f"{facts['diverged']} cells diverged (final; the reasons are in the rows)", markup=False
        )
    if facts["failed"]:
        _console.print(
            f"{facts['failed']} cells FAILED; the next run tries them again. "
            f"{plain.line('; '.join(facts['failures'][:3]))}",
            markup=False,
        )
    for warning in (*facts["faults"], *facts["beware"]):
        _console.print(plain.line(warning), markup=False, style="red")
    _console.print("\nVerdict", style="bold")
    for line in facts["verdict"]:
        _console.print(f"  {line}", markup=False)
    if facts["report"] is None:
        _console.print(plain.line(f"no report: {facts['no_report']}"), markup=False)
        return
    _console.print(f"\nreport: {plain.name(facts['report'])}", markup=False)
    if facts.get("kept_report"):
        _console.print(
            plain.line(f"({facts['kept_report']} is of another study of this name, and was kept)"),
            markup=False,
        )


def _did(facts: dict[str, Any]) -> str:
    """What was done, which may be less than what was asked for."""
    if not facts["asked_cells"]:
        return "nothing to do: every cell is in the store"
    arms, cells = facts["ran_arms"], facts["ran_cells"]
    diverged = f", {facts['diverged_arms']} diverged" if facts["diverged_arms"] else ""
    if facts["by_steps"] and not (arms or cells or diverged):
        return "nothing was trained or measured: the steps before had done what it took"
    if facts["by_steps"]:  # the study is decided, or the budget spent, before all is done
        return f"{count(arms, 'arm')} trained{diverged}, {count(cells, 'cell')} measured"
    of_arms = _of(arms + facts["diverged_arms"], facts["asked_arms"])
    return (
        f"{count(arms, 'arm')} trained{diverged}{of_arms}, {count(cells, 'cell')} measured"
        f"{_of(cells, facts['asked_cells'])}"
    )


def _of(done: int, asked: int) -> str:
    return "" if done == asked else f" (of {asked} to do)"


def say_step(step: Step) -> None:
    """A step of a run by steps: what it ran and why, what is ahead, and why it ends."""
    ran = listed([f"{name} (seed {', '.join(map(str, s))})" for name, s in step.arms.items()])
    best = "" if step.best is None else f"; ahead: {step.best}"
    chance = "" if step.p_best is None else f", the best with probability {step.p_best:.2f}"
    _console.print(f"step {step.step}: ran {ran}{best}{chance}", markup=False)
    if step.stop:
        _console.print(f"stopped: {step.stop}", markup=False)


def print_status(facts: dict[str, Any], asked: str) -> None:
    """The status in text, of the study that was asked for by these words."""
    if facts["store"] is None:
        _console.print(_NO_STORE, markup=False)
    _console.print(
        f"{facts['study']}: {facts['arms_done']} of {facts['arms']} arms trained; {facts['done']} "
        f"of {facts['cells']} cells done",
        markup=False,
    )
    _console.print(
        f"{facts['to_do']} to do, {facts['failed']} failed, {facts['diverged']} diverged",
        markup=False,
    )
    for arm in facts["in_progress"]:
        _console.print(
            f"in progress: {arm['title']} · seed {arm['seed']}: step {arm['step']} of "
            f"{arm['steps']}",
            markup=False,
        )
    for run in facts["running"]:
        _print_run(run)
    if facts["queue"]:
        _print_queue(facts["queue"])
    for reason in facts["failures"]:
        _console.print(plain.line(f"failed: {reason}"), markup=False)
    if facts["decision"] is not None:
        _print_decision_so_far(facts["decision"], facts["to_do"] + facts["failed"])
    if facts["undecided"] is not None:
        _console.print(
            plain.line(
                f"not decided here, as {facts['undecided']}: `headwater status {asked} --decide` "
                "decides"
            ),
            markup=False,
        )
    for fault in facts["faults"]:
        _console.print(plain.line(fault), markup=False)


def _left_words(left_s: float | None, unknown: str, before: str = "") -> str:
    return unknown if left_s is None else f"{before}about {time_words(left_s)} left"


def _print_run(run: dict[str, Any]) -> None:
    """How far a run that is under way is, and when its arms will be done."""
    _console.print(
        plain.line(
            f"running: {_left_words(run['left_s'], 'time left not known')}, of {run['cells']} "
            f"cells {run['cells_done']} done in {time_words(run['elapsed_s'])} "
            f"(process {run['pid']} on {run['host']})"
        ),
        markup=False,
    )
    for unit in run["now"]:
        _console.print(
            plain.line(f"  now: {unit['unit']}{_left_words(unit['left_s'], '', ', ')}"),
            markup=False,
        )
    arms = run["arms_left"]
    for arm in arms[:_MOST]:
        _console.print(
            plain.line(
                f"  {arm['title']} \u00b7 seed {arm['seed']}: done in about "
                f"{time_words(arm['left_s'])}"
            ),
            markup=False,
        )
    if len(arms) > _MOST:
        _console.print(f"  and {len(arms) - _MOST} arms more", markup=False)


def _print_queue(workers: list[dict[str, Any]]) -> None:
    """What batch systems say of the store's workers."""
    states = Counter(worker["state"] for worker in workers)
    told = listed([f"{number} {state}" for state, number in states.items()])
    _console.print(plain.line(f"queue: {count(len(workers), 'worker')}, {told}"), markup=False)
    for worker in workers[:_MOST]:
        node, left, reason = (worker.get(name) for name in ("node", "left_s", "reason"))
        words = f"{worker['worker']}: {worker['state']}{f' on {node}' if node else ''}"
        words += _left_words(left, "", ", ") + (f" ({reason})" if reason else "")
        _console.print(f"  {plain.line(words)}", markup=False)
    if len(workers) > _MOST:
        _console.print(f"  and {len(workers) - _MOST} workers more", markup=False)


def _print_decision_so_far(decision: dict[str, Any], to_do: int) -> None:
    """Mean scores and the answer, of what is done."""
    so_far = f" so far ({count(to_do, 'cell')} to come)" if to_do else ""
    _console.print(plain.line(f"decision{so_far}: {decision['headline']}"), markup=False)
    if not decision["means"]:
        return
    setting = f"{decision['protocol']}, {listed(list(decision['tasks']))}"
    table = Table("", "mean %", "could be best", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, mean in list(decision["means"].items())[:_MOST]:
        could = "yes" if name in decision["shortlist"] else ""
        table.add_row(name_of(name), f"{100 * mean:.1f}", could)
    _console.print(f"  {setting}", markup=False)
    _console.print(table)
