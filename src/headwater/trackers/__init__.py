"""Trackers: programs of others that show runs (TensorBoard, trackio, MLflow, W&B offline), fed
while a study runs. None is used unless it is asked for, `headwater run --tracker NAME[:WHERE]`.

    tracker.py       what a tracker is; which there are; one that fails is dropped, not the run
    feed.py          events of a run -> training curves and rows -> trackers
    tensorboard.py, trackio.py, mlflow.py, wandb.py    one each: the only files that know theirs

A package that a tracker needs is imported when it is asked for, and named where it is missing.
"""

from headwater.trackers.feed import tracked
from headwater.trackers.tracker import Tracker

__all__ = ["Tracker", "tracked"]
