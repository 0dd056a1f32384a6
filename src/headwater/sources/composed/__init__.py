"""Sources made of other sources: a mix of several, and a view of one. No image is copied.

source.py    one table over the images of other sources
strata.py    groups that a subset of any size holds in given shares
filters.py   which images a view keeps, and how many it leaves out for which reason
columns.py   what is known of each image: columns of the source, or of a table beside it
"""

from headwater.sources.composed.source import ComposedSource

__all__ = ["ComposedSource"]
