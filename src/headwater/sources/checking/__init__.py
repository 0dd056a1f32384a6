"""Whether a copy of a known set is whole: what lies in it is counted and compared with its recipe.

found.py     what a copy holds, counted image by image: texts, classes, a sample of the images
shards.py    tars, with the gaps in their numbers and what img2dataset told of each
reading.py   tars, Parquet files or a folder, whichever it is
verdict.py   what that says beside the recipe

Nothing is extracted, unpickled or changed.
"""

from headwater.sources.checking.found import Found, Sampled, TextStatistics
from headwater.sources.checking.reading import look_into
from headwater.sources.checking.verdict import Verdict, verdict_of

__all__ = ["Found", "Sampled", "TextStatistics", "Verdict", "look_into", "verdict_of"]
