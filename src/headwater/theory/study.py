"""A study of the theory, in words: sweeps over the constants of the simulated data, networks and
labels. Frozen, validated; needs no data.

    study: rare-features
    seeds: 5
    theory:
      transition: {subclasses: [1, 2, 4, 8, 16, 32], labels: [coarse, fine]}
      noise: {subclasses: [4, 8, 16], labels: coarse, sigma_zeta: [0.1, 0.5]}

Each sweep crosses its axes; every axis takes one value or a list. What it does not name has the
default below. A network that two sweeps name is trained once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from headwater.errors import InputError
from headwater.study.file import read_text, tree_of, validated
from headwater.study.words import (
    Fraction,
    Name,
    NonNegative,
    Origin,
    Positive,
    Real,
    Seeds,
    Several,
    Whole,
    Words,
)

_Count = Annotated[Whole, Field(ge=1, le=1_000_000)]
_LabelWords = Annotated[str, Field(min_length=1, max_length=60)]
ReadOut = Literal["max", "sum", "tuned"]


class Sweep(Words):
    """Axes that are crossed.

    Defaults are ours, smaller than the numerical check of Hong et al. 2023, section C, which is in
    brackets where it differs; the transition shows at both.
    """

    subclasses: Several[_Count] = (1, 4, 16, 32)
    """k: subclasses of each superclass."""
    labels: Several[_LabelWords] = ("coarse", "fine")
    """coarse, fine, merge:K, random:K, random:K within coarse, random:K within fine, shuffle:K,
    instance (headwater.theory.simulation.labels).
    """
    seeds: Seeds | None = None
    """The study's when left out."""
    read_outs: Several[ReadOut] = ("max",)
    """How the superclass is read: the largest of its heads, their sum, or after fine-tuning.

    Labels that mix superclasses have the last alone.
    """
    # the data, by the paper's symbols
    d: Several[_Count] = (128,)
    """Dimensions of a patch, at least 2 + 2k [512]."""
    patches: Several[_Count] = (8,)
    """P: patches of a sample."""
    s: Several[_Count] = (2,)
    """s*: patches of each feature."""
    alpha: Several[Positive] = (1.0,)
    """Strength of a feature."""
    iota: Several[Fraction] = (0.0,)
    """Relative spread of strengths and patch counts, below 1."""
    alpha_dagger: Several[NonNegative] = (0.1,)
    """Strength of the wrong common feature in hard samples, below alpha."""
    sigma_zeta: Several[NonNegative] = (0.25,)
    """Noise of every patch, in units of 1 / sqrt(d)."""
    sigma_star: Several[NonNegative] = (0.5,)
    """Strong noise on one patch of a hard sample, in the same units."""
    hard_share: Several[Fraction] = (0.0,)
    """Share of training samples that are hard; the theorems have none."""
    # network and training
    width: Several[_Count] = (16,)
    """m: neurons of a head [32]."""
    neurons: Several[_Count] | None = None
    """Neurons of the whole network, dealt out to the heads, in place of width."""
    init: Several[NonNegative] = (0.02,)
    """Standard deviation of initial weights."""
    bias: Several[Annotated[Real, Field(le=0, allow_inf_nan=False)]] = (-0.02,)
    """Of every neuron, not trained, 0 or less."""
    batch: Several[_Count] = (128,)
    """Samples of a step [256]."""
    lr: Several[Positive] = (1.0,)
    """Learning rate of two heads of 32 neurons; it grows with heads and width
    (headwater.theory.simulation.training.Recipe) [0.5].
    """
    stop_loss: Several[NonNegative] = (0.05,)
    """Nats of a batch at which training ends."""
    max_steps: Several[_Count] = (1500,)
    """Steps at which it ends at the latest."""
    train_samples: Several[_Count] | None = None
    """Size of a finite training set; fresh batches when left out, as in the theorems."""
    label_noise: Several[Fraction] = (0.0,)
    """Share of training samples with a wrong label."""
    tune_steps: Annotated[Whole, Field(ge=1, le=1_000_000)] = 100
    """Steps of fine-tuning on the superclasses, for the tuned read-out."""
    # measuring
    test_samples: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1000
    """Easy test samples, and as many hard ones, by seed."""
    looks: Annotated[Whole, Field(ge=0, le=1000)] = 0
    """How often training is looked at on the way: errors and responses at so many steps, even in
    the logarithm.
    """
    precision: Literal["fp32", "fp64"] = "fp32"


class TheoryStudy(Words):
    """A whole study of the theory.

    `TheoryStudy.load(path)` reads a file; errors name the line, the key and the nearest valid one.
    """

    study: Name
    question: str | None = None
    seeds: Seeds = (0, 1, 2)
    theory: Annotated[dict[Name, Sweep], Field(min_length=1)]
    """Sweeps by name."""
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @classmethod
    def load(cls, path: str | Path) -> TheoryStudy:
        """Read and validate a study file.

        Raises InputError with file, line, key and the nearest valid key.
        """
        return cls.parse(read_text(Path(path)), str(path))

    @classmethod
    def parse(cls, text: str, where: str = "study") -> TheoryStudy:
        """The study in a YAML text; `where` is how errors call it. Raises InputError as `load`."""
        tree = tree_of(text, where)
        if "theory" not in tree.value and "data" in tree.value:
            raise InputError(
                f"{where}: is a study of images, and has no sweeps of the theory; `headwater run "
                f"{where}` computes it"
            )
        study = validated(cls, tree)
        study._origin = Origin(where, tree.lines)
        return study
