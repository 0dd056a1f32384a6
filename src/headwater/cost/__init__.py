"""What a study will cost before it runs: images, FLOPs, time and disk.

    encoder.py       what the estimate needs to know of an encoder on this machine
    calibration.py   counting and measuring it: the one place here that needs torch
    kept.py          what was measured, kept for later plans
    estimate.py      the cost of what is to do, from these

An estimate, from a second's calibration on this machine.
"""

from headwater.cost.encoder import Measured
from headwater.cost.estimate import Cost, estimate
from headwater.cost.kept import measured, remembered

__all__ = ["Cost", "Measured", "estimate", "measured", "remembered"]
