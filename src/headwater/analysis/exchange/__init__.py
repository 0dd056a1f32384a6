"""Exchange rates: how many images of one source are worth one of another.

rows -> families    families.py, seeds.py: arms that differ in their size alone
     -> rates       rates.py: at which number of images two curves are equal
     -> crossing    crossing.py: whether their order flips at a size that was not run
     -> the answer  answer.py
"""

from headwater.analysis.exchange.answer import (
    ExchangeRate,
    curves_of_rows,
    exchange_rate,
    rates_frame,
)
from headwater.analysis.exchange.crossing import Crossing, crossing
from headwater.analysis.exchange.rates import Exchange, Rate
from headwater.analysis.exchange.seeds import Seeds

__all__ = [
    "Crossing",
    "Exchange",
    "ExchangeRate",
    "Rate",
    "Seeds",
    "crossing",
    "curves_of_rows",
    "exchange_rate",
    "rates_frame",
]
