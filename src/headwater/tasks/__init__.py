"""Downstream tasks and their fixed splits: train, val and test positions with classes, groups,
superclasses and few-shot draws.

The test set is the same at every shot count. A task without a val split gives 15 % of train to it,
stratified and keyed, by whole groups where it names a group. Few-shot draws come from train only,
are keyed by (seed, draw) and nested: the first image of a class in the 1-shot draw is in the 5-shot
draw too. Validation of a few-shot cell is few-shot sized.

    task.py       the task and its draws
    resolve.py    from a source, a view and a split column
    groups.py     what may not lie in two splits
    index.py      index files: fixed splits for a folder that has none
"""

from headwater.tasks.index import SplitIndex, split_index
from headwater.tasks.resolve import SPLITS, VAL_SHARE, resolve_task
from headwater.tasks.task import Draw, Task

__all__ = ["SPLITS", "VAL_SHARE", "Draw", "SplitIndex", "Task", "resolve_task", "split_index"]
