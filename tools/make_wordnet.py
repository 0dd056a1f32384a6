"""Makes the shipped copy of WordNet 3.0's nouns, and the licence beside it.

    python tools/make_wordnet.py [data.noun]

From Princeton's `data.noun` (Debian: package wordnet-base, where it is looked for unless a path is
given) to src/headwater/labels/hierarchies/wordnet30_nouns.bin and wordnet30_licence.txt. The same
input gives the same bytes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.labels.hierarchies.reading import read_text
from headwater.labels.hierarchies.wordnet import SHIPPED, packed, parse_nouns

DEBIAN = Path("/usr/share/wordnet/data.noun")
FOLDER = Path(__file__).parents[1] / "src" / "headwater" / "labels" / "hierarchies"
LICENCE = "wordnet30_licence.txt"


def made(path: Path) -> dict[str, bytes]:
    """The bytes of both files, by name. Raises InputError for what is no data.noun of version
    3.0.
    """
    numbered = [line for line in read_text(path).split("\n") if line.startswith("  ")]
    licence = (
        "\n".join(re.sub(r"^  [0-9]+ ?", "", line).rstrip() for line in numbered).strip() + "\n"
    )
    if "WordNet 3.0 Copyright" not in licence:
        raise InputError(f"{path}: this is not the data.noun of WordNet 3.0")
    synsets, parents, children, _ = parse_nouns(path)
    head = (
        f"{SHIPPED} holds the nouns of WordNet 3.0 and the relation 'is a kind of' between them, "
        "and nothing else of it.\n\n"
    )
    return {SHIPPED: packed(synsets, parents, children), LICENCE: (head + licence).encode()}


if __name__ == "__main__":
    try:
        for name, data in made(Path(sys.argv[1]) if len(sys.argv) > 1 else DEBIAN).items():
            write_atomic(FOLDER / name, data)
            print(f"{name}: {len(data)} bytes")
    except InputError as error:
        sys.exit(str(error))
