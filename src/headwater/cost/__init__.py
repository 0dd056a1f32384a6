"""What a study will cost before it runs: images, FLOPs, time and disk.

    encoder.py       what the estimate needs to know of an encoder on this machine
    calibration.py   counting and measuring it: the one place here that needs torch
    kept.py          what was measured, kept for later plans
    guess.py         what can be told of common encoders without torch
    expected.py      seconds of each piece of a run, for its forecast
    estimate.py      the cost of what is to do, from these
    spread.py        what is left, arm by arm, over workers; GPUs that train one arm together
    memory.py        what training takes of a GPU, and a worker of its machine

An estimate, from a second's calibration on this machine; before that, from a guess of its rate.
"""

from headwater.cost.encoder import Measured
from headwater.cost.estimate import Cost, estimate
from headwater.cost.expected import Expected, Piece, expected
from headwater.cost.kept import known, measured, remembered

__all__ = [
    "Cost",
    "Expected",
    "Measured",
    "Piece",
    "estimate",
    "expected",
    "known",
    "measured",
    "remembered",
]
