"""Which images a source and a test set share, and which of one set are the same picture twice.

    squares.py      every image as a small square, in whole numbers, so that results are bit-equal
                    at any number of threads and any block size
    hashing.py      equal pixels; perceptual hashes
    windows.py      all pairs, coarsely: windows of one image against the other
    aligning.py     the likely pairs: the window is looked for, and what it shows is compared
    neighbours.py   nearest neighbours by an encoder's features
    leakage.py      near_duplicates, within: all of these together
    looks.py        what is known of images: kept from one search to the next
    matches.py      what they find
    sheet.py        the pairs, drawn
    scale/          the same of millions of images, in bounded memory

Equal files are found before a pixel is decoded (plan.overlap, by their bytes); this room finds the
copies that are not equal files. docs/leakage.md.
"""

from headwater.curation.leakage import near_duplicates, within
from headwater.curation.looks import Looks
from headwater.curation.matches import KINDS, Matches
from headwater.curation.neighbours import embedding_neighbours
from headwater.curation.sheet import Pair, draw_pairs, drawn_pairs

__all__ = [
    "KINDS",
    "Looks",
    "Matches",
    "Pair",
    "draw_pairs",
    "drawn_pairs",
    "embedding_neighbours",
    "near_duplicates",
    "within",
]
