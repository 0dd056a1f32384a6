"""What the verdict stands on: one protocol, and the settings in which every ranked configuration
was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import per_seed, wide
from headwater.analysis.configurations import SETTING, Configuration, configurations, main_metric
from headwater.analysis.order import tuned_protocols

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ground:
    """A prepared table and the scores of the settings in which every ranked configuration was
    measured.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    """Rows of `compare.wide`, one column per ranked configuration."""
    protocol: str
    left_out: tuple[str, ...]
    """Names of configurations that were tried under the protocol and lack some setting."""
    reused: tuple[str, ...]
    """Tasks of this protocol that were set aside because frozen encoders met their own labels
    there.
    """

    @cached_property
    def ranked(self) -> list[Configuration]:
        """The ranked configurations, in the order of the scores."""
        known = configurations(self.table)
        return [known[column] for column in self.scores.columns]

    @property
    def tasks(self) -> list[str]:
        return tasks_of(self.scores)

    @property
    def shots(self) -> list[Any]:
        """Images per class, as `words.shots_words` takes them."""
        return list(set(self.scores.index.get_level_values("shots")))

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of the cells that decide."""
        used = self.table[
            self.table["decides"]
            & self.table["configuration"].isin(self.scores.columns)
            & (self.table["protocol"] == self.protocol)
        ]
        return tuple(sorted(set(used.loc[used["task"].isin(self.tasks), "cell"])))


def tasks_of(scores: pd.DataFrame) -> list[str]:
    return sorted(set(scores.index.get_level_values("task")))


@dataclass(frozen=True)
class _Candidate:
    """A protocol that a verdict could be made in."""

    protocol: str
    scores: pd.DataFrame

    def rank(self) -> Any:
        """The best is the greatest: enough to compare, then many tasks, then fine-tuning, then many
        scores.
        """
        comparable = min(self.scores.shape[1], 2)
        num_tasks, tuned = len(tasks_of(self.scores)), self.protocol in tuned_protocols()
        return comparable, num_tasks, tuned, len(self.scores), self.protocol


def ground_of(table: pd.DataFrame) -> Ground | None:
    """The protocol and settings that the verdict is made in; None without one usable row."""
    metric = main_metric(table)
    scores = wide(table, metric=metric)
    if not len(scores):
        return None
    main = table["usable"] & (table["metric"] == metric) & (table["subset"] == "all")
    tainted = task_protocols(table[main & ~table["decides"]])
    index = scores.index.to_frame(index=False)
    clean = [pair not in tainted for pair in zip(index["task"], index["protocol"], strict=True)]
    candidates = []
    for protocol in sorted(set(index["protocol"])):
        chosen = scores[(index["protocol"] == protocol).to_numpy() & clean]
        complete = _complete(chosen.dropna(axis=1, how="all"))
        if len(complete):
            candidates.append(_Candidate(protocol, complete))
    if not candidates:
        return None
    top = max(candidates, key=_Candidate.rank)
    tried = set(table.loc[table["protocol"] == top.protocol, "configuration"]) - set(top.scores)
    return Ground(
        table=table,
        scores=top.scores,
        protocol=top.protocol,
        left_out=tuple(each.name for each in configurations(table).values() if each.id in tried),
        reused=tuple(sorted(task for task, protocol in tainted if protocol == top.protocol)),
    )


def task_protocols(rows: pd.DataFrame) -> set[tuple[str, str]]:
    """The different (task, protocol) of some rows."""
    return set(rows[["task", "protocol"]].itertuples(index=False, name=None))


def _complete(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores without configurations that lack a setting at every seed; if fewer than two are
    left, the settings that all share.
    """
    if not len(scores):
        return scores
    has_all = per_seed(scores).notna().any()
    complete = scores[list(has_all.index[has_all])]
    if complete.shape[1] >= min(2, scores.shape[1]):
        return complete
    has = scores.notna().groupby(level=list(SETTING)).transform("any")
    shared = scores[has.all(axis=1).to_numpy()]
    if len(shared) and per_seed(shared).notna().any().sum() >= 2:
        return shared
    return complete
