"""The best mix of sources, from a few that were run.

rows -> mixes     runs.py: arms that differ in the mix of their source alone
     -> a fit     fit.py: the score as a function of the weights
     -> the best  answer.py: what is known of the best mix, and the one to run next
"""

from headwater.analysis.mixes.answer import BestMix, best_mix, best_of
from headwater.analysis.mixes.fit import Fit, candidates
from headwater.analysis.mixes.runs import Mixes, mixes_of

__all__ = ["BestMix", "Fit", "Mixes", "best_mix", "best_of", "candidates", "mixes_of"]
