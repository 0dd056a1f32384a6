"""The words of a study: what is varied, what is held equal, what is measured.

words.py is what all words share, recipe.py, data.py, views.py and protocols.py the parts, study.py
the whole, file.py how it is read from YAML. Names are imported when they are first used: the
sockets' entries bring words of their own, and import what is here to say them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.sources.kinds.folder import FolderData
    from headwater.sources.kinds.huggingface import HuggingFaceData
    from headwater.sources.kinds.parquet import ParquetData
    from headwater.sources.kinds.published import PublishedData
    from headwater.sources.kinds.shards import ShardsData
    from headwater.sources.kinds.torchvision import TorchvisionData
    from headwater.sources.kinds.world import WorldData
    from headwater.study.data import Data
    from headwater.study.decision import Decide, Prices
    from headwater.study.protocols import ProtocolName, Protocols
    from headwater.study.recipe import (
        Augmentation,
        Budget,
        Method,
        OnlineProbe,
        Recipe,
        Recipes,
    )
    from headwater.study.study import Arm, Cell, SourceUse, Study, TaskUse
    from headwater.study.views import Features, Noise, ViewUse
    from headwater.study.words import Misplaced, Origin, Words, canonical, identity

_HOMES = {
    "headwater.sources.kinds.folder": ("FolderData",),
    "headwater.sources.kinds.huggingface": ("HuggingFaceData",),
    "headwater.sources.kinds.parquet": ("ParquetData",),
    "headwater.sources.kinds.published": ("PublishedData",),
    "headwater.sources.kinds.shards": ("ShardsData",),
    "headwater.sources.kinds.torchvision": ("TorchvisionData",),
    "headwater.sources.kinds.world": ("WorldData",),
    "headwater.study.data": ("Data",),
    "headwater.study.decision": ("Decide", "Prices"),
    "headwater.study.protocols": ("ProtocolName", "Protocols"),
    "headwater.study.recipe": (
        "Augmentation",
        "Budget",
        "Method",
        "OnlineProbe",
        "Recipe",
        "Recipes",
    ),
    "headwater.study.study": ("Arm", "Cell", "SourceUse", "Study", "TaskUse"),
    "headwater.study.views": ("Features", "Noise", "ViewUse"),
    "headwater.study.words": ("Misplaced", "Origin", "Words", "canonical", "identity"),
}

__all__ = [
    "Arm",
    "Augmentation",
    "Budget",
    "Cell",
    "Data",
    "Decide",
    "Features",
    "FolderData",
    "HuggingFaceData",
    "Method",
    "Misplaced",
    "Noise",
    "OnlineProbe",
    "Origin",
    "ParquetData",
    "Prices",
    "ProtocolName",
    "Protocols",
    "PublishedData",
    "Recipe",
    "Recipes",
    "ShardsData",
    "SourceUse",
    "Study",
    "TaskUse",
    "TorchvisionData",
    "ViewUse",
    "Words",
    "WorldData",
    "canonical",
    "identity",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
