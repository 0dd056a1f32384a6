"""A value as YAML on one line, as a person would write it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z./](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_./-])?")


def flow(value: Any) -> str:
    """Mappings, lists, texts and numbers; a text is quoted where YAML would read something else."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if _is_plain(value) else _quoted(value)
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    if not _PLAIN.fullmatch(text):
        return False
    try:
        return bool(yaml.safe_load(f"[{text}]") == [text])
    except yaml.YAMLError:
        return False


def _quoted(text: str) -> str:
    """Letters of all scripts stay; what YAML would not read back is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
