"""A study as a piece of HTML: its question, what it varies, and how much that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater import fragments

if TYPE_CHECKING:
    from headwater.study.study import Study

_MOST = 8


def study_html(study: Study) -> str:
    """For `_repr_html_`."""
    arms = study.arms()
    kinds = Counter((arm.source, arm.method) for arm in arms)
    one_arm_each = {(arm.source, arm.method): arm for arm in arms}
    cells = sum(kinds[kind] * len(study.cells(arm)) for kind, arm in one_arm_each.items())
    axes = {
        "sources": _listed(study.sources),
        "methods": _listed(study.methods),
        "labels": _listed(study.labels),
        "sizes": "" if study.sizes == ("all",) else _listed(study.sizes),
        "seeds": len(study.seeds),
        "tasks": _listed(study.tasks),
        "protocols": _listed(name for name, _ in study.protocols.items()),
        "arms": f"{len(arms):,}",
        "cells": f"{cells:,}",
    }
    return fragments.box("Study", study.study, [fragments.facts(axes)], lead=study.question or "")


def _listed(values: Iterable[object]) -> str:
    words = list(map(str, values))
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more
