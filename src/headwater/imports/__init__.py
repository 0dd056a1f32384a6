"""Tables of other people made into rows, with what is known to be wrong with them.

words.py    a map: which column becomes which field of a row
mapping.py  a table and a map -> rows
maps/       maps of public tables
"""

from headwater.imports.mapping import Imported, imported, map_of, shipped_maps
from headwater.imports.words import ImportMap

__all__ = ["ImportMap", "Imported", "imported", "map_of", "shipped_maps"]
