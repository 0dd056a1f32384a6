"""Learning curves: from scores at some sizes to scores at others, with intervals.

a table -> curves              tables.py, curve.py: any table of curve, n, score
        -> laws                law.py, noise.py: error = E + B n^-a from where it leaves chance
        -> hidden predictions  hiding.py: what hiding the ends of curves shows of such laws
        -> predictions         prediction.py beyond what was measured, inside.py within
"""

from headwater.analysis.curves.curve import Curve, Unit, curve_of
from headwater.analysis.curves.prediction import Prediction, Predictor, checklist
from headwater.analysis.curves.tables import CurveTable, curves_of, read_curves

__all__ = [
    "Curve",
    "CurveTable",
    "Prediction",
    "Predictor",
    "Unit",
    "checklist",
    "curve_of",
    "curves_of",
    "read_curves",
]
