"""Control characters in texts: refused with the file and the line, wherever texts are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.labels import caption_lists
from headwater.sources.folder import FolderSource

STRAY = {
    "escape": "a \x1b[31mred\x1b[0m cup",
    "bell": "a cup\x07",
    "next line": "a cup\x85",
    "C1": "it\x92s a cup",
    "carriage return alone": "a cup\rof tea",
    "line separator": "a cup\u2028of tea",
    "byte-order mark": "a cup \ufeffof tea",
    "backspace": "a cup\x08",
    "tag": "a cup \U000e0041",
}
FINE = [
    "a cup\nof tea",
    "a cup\tof tea",
    "a\r\ncup",
    "כוס תה \u200fאדומה",
    "\u202bכוס\u202c",
    "👩‍💻 é",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
]


def put(root: Path, name: str, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8", newline="")
    return root


def captions_jsonl(root: Path, *texts: object) -> Path:
    for at in range(len(texts)):
        put(root, f"{at}.png", str(at))
    lines = [json.dumps({"path": f"{at}.png", "caption": own}) for at, own in enumerate(texts)]
    return put(root, "captions.jsonl", "\n".join(lines))


def labels_csv(root: Path, *texts: str) -> Path:
    for at in range(len(texts)):
        put(root, f"{at}.png", str(at))
    cells = ['"{}"'.format(text.replace('"', '""')) for text in texts]
    lines = [f"{at}.png,cat,{cell}" for at, cell in enumerate(cells)]
    return put(root, "labels.csv", "\n".join(["path,level1,caption", *lines]) + "\n")


def metadata_jsonl(root: Path, *texts: str) -> Path:
    for at in range(len(texts)):
        put(root / "train", f"{at}.png", str(at))
    lines = [json.dumps({"file_name": f"{at}.png", "text": own}) for at, own in enumerate(texts)]
    put(root / "train", "metadata.jsonl", "\n".join(lines))
    return root


@pytest.mark.parametrize("text", STRAY.values(), ids=STRAY)
def test_a_control_character_in_a_caption_is_refused_with_its_line_and_not_shown_raw(
    tmp_path: Path, text: str
) -> None:
    jsonl = captions_jsonl(tmp_path / "a", "a cup", text)
    csv = labels_csv(tmp_path / "b", "a cup", text)
    listed = captions_jsonl(tmp_path / "c", ["a cup"], ["a plate", text])
    for root, place in (
        (jsonl, "captions.jsonl, line 2"),
        (csv, "labels.csv, line 3"),
        (listed, "captions.jsonl, line 2"),
    ):
        with pytest.raises(InputError, match=rf"{place}: 'caption' holds .*; remove it") as caught:
            FolderSource("set", root)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", list(STRAY.values())[:3], ids=list(STRAY)[:3])
def test_so_it_is_in_metadata(tmp_path: Path, text: str) -> None:
    root = metadata_jsonl(tmp_path, "a cup", text)
    with pytest.raises(InputError, match=r"metadata.jsonl, line 2: 'text' holds .*; remove it"):
        FolderSource("set", root)


def test_line_ends_tabs_and_marks_of_direction_are_texts(tmp_path: Path) -> None:
    for name, write in (("a", captions_jsonl), ("b", labels_csv)):
        table = FolderSource("set", write(tmp_path / name, *FINE)).table
        read = caption_lists("caption", table, np.arange(len(FINE)), "set")
        assert read == [[text] for text in FINE]


def test_the_name_of_a_field_is_not_shown_raw_either(tmp_path: Path) -> None:
    put(tmp_path, "0.png", "0")
    line = json.dumps({"path": "0.png", "a\x1b]0;b": "a\x07"})
    with pytest.raises(InputError) as caught:
        FolderSource("set", put(tmp_path, "captions.jsonl", line))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["ca\x1bt", "ca\tt", "ca\nt", "ca\x85t", "ca\u2028t"])
def test_class_names_and_columns_hold_no_control_character_either(
    tmp_path: Path, name: str
) -> None:
    put(tmp_path, "0.png", "0")
    rows = f'path,level1\n0.png,"{name}"\n'
    with pytest.raises(InputError, match=r"line 2: the class name .* holds .*; remove it"):
        FolderSource("set", put(tmp_path, "labels.csv", rows))
    with pytest.raises(InputError, match=r"line 1: the column .* holds .*; rename it") as caught:
        FolderSource("set", put(tmp_path, "labels.csv", f'path,"{name}",level1\n0.png,a,b\n'))
    assert str(caught.value).isprintable()
