"""Which line of the evidence a decision is made by."""

from __future__ import annotations

from headwater.analysis.decision import Aim
from headwater.analysis.evidence import Evidence, Line
from headwater.analysis.words import shots_words
from headwater.errors import InputError


def check_aim(aim: Aim, found: Evidence) -> None:
    """Raises InputError for a protocol, shots, a task or a price that the rows do not have."""
    if aim.protocol is not None:
        known = {setting.protocol for setting in found.settings}
        if known and aim.protocol not in known:
            raise InputError(
                f"decide: the rows have no protocol {aim.protocol!r}; they have "
                f"{', '.join(sorted(known))}"
            )
    numbers = {
        setting.shots for setting in found.settings if aim.protocol in (None, setting.protocol)
    }
    for shots in aim.shots or ():
        if numbers and shots not in numbers:
            raise InputError(
                f"decide: the rows have no cell with {shots_words([shots])}; they have "
                f"{shots_words(numbers)}"
            )
    tasks = {setting.task for setting in found.settings}
    for task in aim.weights:
        if tasks and task not in tasks:
            raise InputError(
                f"decide: the rows have no task {task!r}; they have {', '.join(sorted(tasks))}"
            )
    if aim.prices is not None and found.arms:
        aim.prices.check(arm.labels for arm in found.arms if arm.labels is not None)


def headline_of(found: Evidence, aim: Aim) -> Line | None:
    """The line that is decided by: as the aim says, else the one nearest to use in which two arms
    meet. None where nothing enters.
    """
    lines = found.lines()
    if aim.protocol is not None or aim.shots is not None:
        named = [aim.protocol] if aim.protocol else [line.protocol for line in lines]
        for protocol in dict.fromkeys(named):
            line = found.line(protocol, aim.shots)
            if line is not None and set(aim.shots or ()) <= set(line.shots):
                return line
        return None
    several = [line for line in lines if len(line.arms) > 1]
    return next(iter(several or lines), None)
