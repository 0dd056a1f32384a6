"""The simulated wing: when does a network learn rare features? (Hong et al. 2023, section C)

    study       the words of a study: sweeps over the constants of data, networks and labels
    simulation  the model of the data, networks, training and what is measured
    work        a study's networks, and the rows of one
    engine      shares of the networks to worker processes
    analysis    from rows to what they say; no torch
    report      figures of it; no torch
    show, cli   what the commands print, and the commands
    facade      what `import headwater` offers of it

docs/theory.md tells it to a newcomer. The rest of Headwater knows the wing through `WING` alone.
"""

from headwater.theory.wing import TheoryWing

WING = TheoryWing()

__all__ = ["WING"]
