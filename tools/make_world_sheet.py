"""Draws docs/world.png, a sheet of the generated world: python tools/make_world_sheet.py"""

from pathlib import Path

from PIL import Image

from headwater.sources.world import contact_sheet

if __name__ == "__main__":
    Image.fromarray(contact_sheet()).quantize(256, dither=Image.Dither.NONE).save(
        Path(__file__).parents[1] / "docs" / "world.png", optimize=True
    )
