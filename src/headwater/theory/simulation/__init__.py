"""The theory of Hong et al. 2023, simulated: when does a network learn rare features?

    model       samples with a common feature for each superclass and a fine-grained one for each
                subclass; easy and hard ones
    labels      what they are called: coarse, fine, and labels that do not follow the features
    network     two-layer ReLU patch networks, many at once, gradients by hand
    training    SGD from small initial weights; fine-tuning on the superclasses
    measuring   errors on easy and hard test samples; responses of neurons to the features

docs/theory.md tells it to a newcomer; `headwater theory run` computes sweeps
(headwater.theory.study), headwater.theory.work makes rows of them.
"""

from headwater.theory.simulation.labels import Labels
from headwater.theory.simulation.measuring import READ_OUTS, errors, read, responses
from headwater.theory.simulation.model import World, draws, samples
from headwater.theory.simulation.network import gradients, outputs
from headwater.theory.simulation.training import (
    Experiment,
    Recipe,
    Run,
    superclass_scores,
    train,
    tuned,
)

__all__ = [
    "READ_OUTS",
    "Experiment",
    "Labels",
    "Recipe",
    "Run",
    "World",
    "draws",
    "errors",
    "gradients",
    "outputs",
    "read",
    "responses",
    "samples",
    "superclass_scores",
    "train",
    "tuned",
]
