"""A generated world: images of drawn creatures with known answers, and no download.

`WorldData` (headwater.sources.kinds.world) says what is planted; `WorldSource` (source.py) is the
source of it. species.py holds codes, names and wordings, drawing.py the geometry of a creature,
styles.py the four domains; `contact_sheet` (sheet.py) shows what they look like.
"""

from __future__ import annotations

from headwater.sources.kinds.world import Domain, WorldData
from headwater.sources.world.sheet import contact_sheet
from headwater.sources.world.source import WorldSource

__all__ = ["Domain", "WorldData", "WorldSource", "contact_sheet"]
