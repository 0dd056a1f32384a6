"""Near-duplicates of sets too large for all pairs: millions of images, in bounded memory.

    whole.py        features as whole numbers, so that sums are equal in any order; blocks of rows
    cells.py        features sorted into cells of like ones, and the cells that each is looked up in
    embeddings.py   pairs above a cosine: within a set, and of a set with many test sets
    bands.py        how hashes are cut into bands so that no near pair is missed
    hashes.py       perceptual hashes of a stream of images, and all pairs of near hashes
    copies.py       near_duplicates_at_scale: likely pairs by hashes and windows, then aligned
    sample.py       a sample of a source: headers and hashes of its images
    pairs.py        what is found: pairs, the best few of each row, and connected groups

All sums are of whole numbers that floating point holds exactly, as in the rest of this room: the
same pairs at any number of threads and size of blocks. docs/near_duplicates.md.
"""

from headwater.curation.scale.copies import confirmed, connected, near_duplicates_at_scale
from headwater.curation.scale.embeddings import near_embeddings, near_tests
from headwater.curation.scale.hashes import (
    Hashes,
    hashes_of,
    near_hash_tests,
    near_hashes,
    near_hashes_mirrored,
)
from headwater.curation.scale.pairs import Pairs
from headwater.curation.scale.sample import Seen, Watch, seen_of

__all__ = [
    "Hashes",
    "Pairs",
    "Seen",
    "Watch",
    "confirmed",
    "connected",
    "hashes_of",
    "near_duplicates_at_scale",
    "near_embeddings",
    "near_hash_tests",
    "near_hashes",
    "near_hashes_mirrored",
    "near_tests",
    "seen_of",
]
