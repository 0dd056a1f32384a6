"""What some tests need that not every machine has, once for all of them: each with the reason that
a skipped test gives. README lists them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

DATA = os.environ.get("HEADWATER_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="HEADWATER_DATA is not set: the real photos and hierarchies are not here"
)

IS_A = (
    Path(DATA or "")
    / "hierarchies"
    / "breeds"
    / "imagenet_class_hierarchy"
    / "wordnet"
    / "class_hierarchy.txt"
)
"""ImageNet's list of is-a relations, among the real hierarchies."""

NOUNS = Path("/usr/share/wordnet/data.noun")
needs_nouns = pytest.mark.skipif(
    not NOUNS.is_file(), reason="WordNet's data.noun is not installed (Debian: wordnet-base)"
)

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="Chromium or its driver is not installed (Debian: chromium, chromium-driver)",
)

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device is here: views on a GPU are not compared with the processor's",
)
