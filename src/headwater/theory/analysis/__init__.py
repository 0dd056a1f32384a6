"""Concluding from simulated networks: does the picture of Hong et al. 2023, section C, hold?

    settings       which constants vary, which lines are one network, which are one seed
    error_rates    errors, phase: easy and hard error, over k and the noise of the test
    transitions    transition, dependence: the k at which coarse labels fail, and what moves it
    responses      response_ratio, response_exponent, gradual: how neurons answer to features
    label_curves   curve, curve_shape: the U
    shown          which part of an analysis stands for it
    sentences      findings: all of it as plain values and sentences

table.py makes the table from rows: a line for each trained network x read-out x test setting x step
that was looked at. `settings.REQUIRED` names its columns.
"""

from headwater.theory.analysis.error_rates import errors, phase
from headwater.theory.analysis.label_curves import curve, curve_shape
from headwater.theory.analysis.responses import gradual, response_exponent, response_ratio
from headwater.theory.analysis.sentences import findings
from headwater.theory.analysis.settings import checked
from headwater.theory.analysis.transitions import dependence, transition

__all__ = [
    "checked",
    "curve",
    "curve_shape",
    "dependence",
    "errors",
    "findings",
    "gradual",
    "phase",
    "response_exponent",
    "response_ratio",
    "transition",
]
