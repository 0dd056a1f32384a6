"""A study proposed from folders: what they hold is looked at, and nothing is asked that can be
seen.

folders.py   what one folder holds: its kind, splits, levels, captions, broken images, copies
splits.py    an index file for a task without a test split, or a source that shows test images
arms.py      which arms, sizes, shots and protocols make sense of them
timing.py    how long arms are trained, so that the study fits a time on this machine
writing.py   the study file, with a comment at each choice
proposed.py  all of it
"""

from headwater.proposal.proposed import Proposal, propose

__all__ = ["Proposal", "propose"]
