"""A study against its data.

resolved.py   the sources and tasks that a study's words point to
images.py     which images an arm is trained on
arms.py       what each arm learns from, and its id
clusters.py   labels that are clusters of features: what is known of them beforehand
given.py      embeddings and weights that somebody else made: what can only fail
cells.py      what each cell measures, and its id
copies.py     copies inside a task and inside a source
splits.py     the images of a source's and a task's splits
unreadable.py images that cannot be read: what is broken by them, or left out
overlaps.py   what arms and tasks have in common: leaked images, labels that both use
named.py      rows of a store under the study's names
plan.py       all of it together
within.py     what earlier searches found of copies inside tasks
"""

from headwater.plan.overlaps import Overlaps
from headwater.plan.plan import Plan
from headwater.plan.planned import Clusters, Overlap, PlannedArm, PlannedCell
from headwater.sources.looking import A_FEW, EVERYTHING, Looking

__all__ = [
    "A_FEW",
    "EVERYTHING",
    "Clusters",
    "Looking",
    "Overlap",
    "Overlaps",
    "Plan",
    "PlannedArm",
    "PlannedCell",
]
