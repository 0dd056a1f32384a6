"""Exchange rates: how many images of one source are worth one of another.

rows -> families    families.py, seeds.py: arms that differ in their size alone
     -> a side      side.py: an arm with its law, and how its scores vary
     -> rates       rates.py: at which number of images two curves are equal
     -> crossing    crossing.py: whether their order flips at a size that was not run
     -> the answer  answer.py; budgets.py: under each budget, where these are an axis
"""

from headwater.analysis.exchange.answer import (
    ExchangeRate,
    curves_of_rows,
    exchange_rate,
    rates_frame,
)
from headwater.analysis.exchange.budgets import OverBudgets, over_budgets
from headwater.analysis.exchange.crossing import Crossing, crossing
from headwater.analysis.exchange.rates import Exchange, Rate
from headwater.analysis.exchange.seeds import Seeds

__all__ = [
    "Crossing",
    "Exchange",
    "ExchangeRate",
    "OverBudgets",
    "Rate",
    "Seeds",
    "crossing",
    "curves_of_rows",
    "exchange_rate",
    "over_budgets",
    "rates_frame",
]
