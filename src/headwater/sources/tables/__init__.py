"""What a folder, or any other source, takes classes, splits and texts from.

listing.py    a table of samples and where each was listed
csv_file.py   strict CSV
columns.py    which column of a CSV means what
labels.py     labels.csv, and index files of splits
captions.py   captions.jsonl
metadata.py   metadata.jsonl and metadata.csv, as Hugging Face's image folders have them

All are read whole and checked at once; a mistake is an InputError of one line that names the file
and the line.
"""

from headwater.sources.tables.captions import with_captions
from headwater.sources.tables.labels import read_labels, with_split_file
from headwater.sources.tables.listing import Listing, Texts, canonical_ids, listing_of

__all__ = [
    "Listing",
    "Texts",
    "canonical_ids",
    "listing_of",
    "read_labels",
    "with_captions",
    "with_split_file",
]
