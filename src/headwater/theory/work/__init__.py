"""Studies of the theory: which networks, what is measured of each, and the rows of one.

networks   an arm is a network to be trained; a cell is one way to read it
crossing   the networks of a study
rows       the rows of a cell
running    train networks and write their rows; in a worker process too
"""

from headwater.theory.work.crossing import networks
from headwater.theory.work.networks import Network, Reading
from headwater.theory.work.running import (
    NetworkWorker,
    failed_network,
    network_rows,
    run_networks,
    set_aside_damaged,
    unfinished,
)

__all__ = [
    "Network",
    "NetworkWorker",
    "Reading",
    "failed_network",
    "network_rows",
    "networks",
    "run_networks",
    "set_aside_damaged",
    "unfinished",
]
