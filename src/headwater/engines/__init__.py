"""When and where arms and cells are computed, never what: that is headwater.work.

An engine is one file that declares its `ENTRY`, an `engine.Engine`.
"""

SHARED = (
    "actor",
    "batch",
    "claims",
    "controller",
    "cores",
    "elsewhere",
    "engine",
    "forecast",
    "gpus",
    "pool",
    "progress",
    "ranks",
    "schedule",
    "together",
    "unit",
    "worker",
)
"""Modules of this package that are no engines."""
