"""Concluding from simulated networks (hong2023, section C): does the theory's picture hold in the
table, at which k, and how sure.

    table -> checked                                            (settings.py: constants that vary, networks, seeds)
          -> errors, phase                                      (error_rates.py: easy and hard error, over k and the test's noise)
          -> transition, dependence                             (transitions.py: the k at which coarse labels fail, and what moves it)
          -> response_ratio, response_exponent, gradual         (responses.py: the mechanism)
          -> curve, curve_shape                                 (label_curves.py: the U)
          -> findings                                           (sentences.py: all of it as plain values and sentences)

The table has a line per trained network x read-out x test setting x looked-at step;
`settings.REQUIRED` names its columns.
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
