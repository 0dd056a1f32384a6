"""What a walk of a folder finds, passes over and tells: endings, folders of systems, links, and the
spelling of class names.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headwater.errors import InputError
from headwater.labels import label_view
from headwater.sources.class_names import class_name
from headwater.sources.folder import FolderSource
from headwater.sources.looking import Looking, look, named
from headwater.sources.pixels import decode, judging
from headwater.sources.walking import walk


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def refusal(root: Path, **words) -> str:
    with pytest.raises(InputError) as caught:
        FolderSource("set", root, **words)
    return str(caught.value)


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir",
        ".thumbnails",
        "thumbs",
        "Thumbnails",
        "$RECYCLE.BIN",
        "__MACOSX",
        ".ipynb_checkpoints",
        "__pycache__",
        "lost+found",
        "System Volume Information",
        "#recycle",
    ],
)
def test_folders_of_systems_and_tools_are_passed_over_at_any_depth_and_told(tmp_path, folder):
    put(tmp_path, "cat/1.jpg", "dog/1.jpg", f"{folder}/x.jpg", f"cat/{folder}/deep/y.jpg")
    source = FolderSource("set", tmp_path)
    assert source.table.ids.tolist() == ["cat/1.jpg", "dog/1.jpg"]
    assert sorted(set(source.table.levels[0])) == ["cat", "dog"]
    if not folder.startswith("."):
        assert f"passed over: 2 folders of systems and tools ({folder})" in source.notes[0]


@pytest.mark.parametrize(
    "ending",
    [
        *(".jpg", ".JPEG", ".jfif", ".jpe", ".pjpeg", ".mpo", ".apng", ".TIF", ".webp", ".gif"),
        *(".ppm", ".PGM", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
    ],
)
def test_every_ending_of_a_format_that_is_opened_is_read(tmp_path, ending):
    put(tmp_path, f"cat/1{ending}", "dog/1.png")
    assert FolderSource("set", tmp_path).table.ids.tolist()[0] == f"cat/1{ending}"


def test_jfif_and_mpo_files_are_decoded(tmp_path):
    from PIL import Image

    from headwater.sources.pixels import decode

    colours = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    (tmp_path / "a").mkdir()
    colours[0].save(tmp_path / "a" / "1.jfif", "JPEG")
    colours[0].save(tmp_path / "a" / "2.mpo", "MPO", save_all=True, append_images=colours[1:])
    source = FolderSource("set", tmp_path)
    for position in range(2):
        pixels = decode(source.image(position), 4, "x")
        assert pixels[..., 0].min() > 200
        assert pixels[..., 2].max() < 60


@pytest.mark.parametrize(
    ("name", "form", "options"),
    [
        ("1.ppm", "PPM", {}),
        ("1.jp2", "JPEG2000", {}),
        ("1.j2k", "JPEG2000", {"no_jp2": True}),
        ("1.avif", "AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_formats_that_pillow_reads_are_decoded_and_a_cut_file_is_told(
    tmp_path, name, form, options
):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(pixels).resize((64, 64), box=(0, 0, 8, 8)))
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / name, form, **options)
    data = (tmp_path / "a" / name).read_bytes()
    found = decode(FolderSource("set", tmp_path).image(0), 51, "x")
    assert found.shape == (64, 64, 3)
    assert np.abs(found.astype(int) - pixels).max() <= 8
    (tmp_path / "a" / name).write_bytes(data[: len(data) // 2])
    judged = judging.judge_bytes(data[: len(data) // 2], 51).kind
    assert judged in (judging.CUT, judging.DAMAGED)


def test_files_whose_ending_is_not_read_are_counted_and_told(tmp_path):
    put(tmp_path, "cat/1.jpg", "dog/1.jpg", "cat/2.heic", "dog/2.HEIC", "dog/3.jxl", "dog/4.tga")
    put(tmp_path, "cat/5", "README.md", "LICENSE", "cat/notes.txt", "cat/1.xml")
    assert FolderSource("set", tmp_path).notes == (
        "left out, by the ending of the name: 5 files (2 .heic, 1 .jxl, 1 .tga, 1 no ending); "
        "convert images to PNG or JPEG to use them",
    )


def test_a_class_of_files_that_are_not_read_says_so(tmp_path):
    put(tmp_path, "cat/1.jpg", "dog/1.heic", "dog/2.heic")
    assert "the folder 'dog' holds no image that is read (2 .heic left out)" in refusal(tmp_path)
    (tmp_path / "cat" / "1.jpg").unlink()
    assert "2 .heic left out" in refusal(tmp_path)


def test_tables_that_are_not_read_are_told(tmp_path):
    put(tmp_path, "cat/1.jpg", "dog/1.jpg", "Labels.csv", "train.tsv", "cat/boxes.csv")
    assert FolderSource("set", tmp_path).notes == (
        "tables that are not read: 'Labels.csv', 'train.tsv' (labels.csv is the one that is)",
    )


def test_links_to_folders_inside_the_root_are_followed(tmp_path):
    put(tmp_path, "pool/1.jpg", "cat/2.jpg")
    (tmp_path / "dog").symlink_to(tmp_path / "pool")
    (tmp_path / "cat" / "3.jpg").symlink_to("../pool/1.jpg")
    source = FolderSource("set", tmp_path)
    assert source.table.ids.tolist() == ["cat/2.jpg", "cat/3.jpg", "dog/1.jpg", "pool/1.jpg"]
    assert {source.image(position) for position in (1, 2, 3)} == {b"pool/1.jpg"}


@pytest.mark.parametrize("target", [".", "..", "../..", "../../a", "../b"])
def test_a_walk_through_links_that_lead_back_ends_and_tells(tmp_path, target):
    put(tmp_path, "a/x/1.jpg", "b/y/2.jpg")
    (tmp_path / "a" / "x" / "loop").symlink_to(target)
    (tmp_path / "b" / "y" / "cross").symlink_to("../../a")
    found = walk(tmp_path)
    assert {"a/x/1.jpg", "b/y/2.jpg"} <= set(found.images)
    assert len(found.images) < 10
    assert found.loops or target == "../b"


def test_many_links_between_folders_do_not_multiply(tmp_path):
    names = [f"d{at}" for at in range(8)]
    put(tmp_path, *(f"{name}/1.jpg" for name in names))
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / f"to_{other}").symlink_to(f"../{other}")
    assert len(walk(tmp_path).images) < 8 * 8 * 8


def test_links_out_of_the_root_are_refused_unless_follow_links(tmp_path):
    put(tmp_path / "outside", "1.jpg", "2.jpg")
    root = put(tmp_path / "root", "cat/1.jpg")
    (root / "dog").symlink_to(tmp_path / "outside")
    assert "'dog' is a link to a folder that leads out" in refusal(root)
    assert "`follow_links: true`" in refusal(root)
    source = FolderSource("set", root, follow_links=True)
    assert source.table.ids.tolist() == ["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"]
    assert source.image(2) == b"2.jpg"
    (root / "dog").unlink()
    (root / "cat" / "2.jpg").symlink_to(tmp_path / "outside" / "2.jpg")
    assert "'cat/2.jpg' is a link that leads out" in refusal(root)
    assert FolderSource("set", root, follow_links=True).image(1) == b"2.jpg"
    (root / "labels.csv").write_text("path\ncat/2.jpg\n")
    assert "follow_links" in refusal(root)
    assert FolderSource("set", root, follow_links=True).image(0) == b"2.jpg"


def test_a_link_to_nothing_is_named(tmp_path):
    put(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "2.jpg").symlink_to("gone.jpg")
    source = FolderSource("set", tmp_path)
    found = look(source, np.arange(2), 8, Looking())
    assert found.bad == {1: "no such file"}
    assert named(source, found) == "no such file: 1 ('cat/2.jpg')"


def forms(name: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        forms("pâté"),
        forms("Åre"),
        ("dog", "do\u200bg"),
        ("dog", "\u202adog\u202c"),
        ("dog", "\ufeffdog"),
        ("dog", "d\u00adog"),
        ("dog", "do\u200dg"),
    ],
)
@pytest.mark.parametrize("table", [False, True])
def test_spellings_that_look_the_same_are_one_class_and_told(tmp_path, first, second, table):
    put(tmp_path, f"{first}/1.jpg", f"{second}/2.jpg", "bread/3.jpg")
    if table:
        (tmp_path / "labels.csv").write_text(
            f"path,level1\n{first}/1.jpg,{first}\n{second}/2.jpg,{second}\nbread/3.jpg,bread\n",
            encoding="utf-8",
        )
    source = FolderSource("set", tmp_path)
    assert sorted(set(source.table.levels[0])) == sorted({"bread", first})
    assert "one class each" in source.notes[0]
    positions = source.split("split", "train")
    assert label_view("level:0", source.table, positions, 0, "set").num_classes == 2


def test_spaces_around_a_class_name_are_trimmed(tmp_path):
    put(tmp_path, " cat /1.jpg", "cat/2.jpg", "dog/3.jpg")
    assert sorted(set(FolderSource("set", tmp_path).table.levels[0])) == ["cat", "dog"]


def test_joiners_of_other_scripts_and_emoji_stay():
    for name in ("می\u200cخواهم", "👩\u200d🚀", "क्\u200dष"):
        assert class_name(name, "x") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Cat", "cat"), "classes that differ in case alone stay apart: 'Cat' and 'cat'"),
        (("STRASSE", "strasse"), "differ in case alone"),
        (("golden retriever", "golden_retriever"), "classes that look alike stay apart"),
        (("cat", "ｃａｔ"), "classes that look alike stay apart"),
        (("a  b", "a b"), "classes that look alike stay apart"),
    ],
)
def test_names_that_only_look_alike_stay_apart_and_are_told(tmp_path, names, told):
    put(tmp_path, *(f"{name}/1.jpg" for name in names))
    source = FolderSource("set", tmp_path)
    assert len(set(source.table.levels[0])) == 2
    assert told in source.notes[0]


def test_two_files_of_one_composed_name_are_named_both(tmp_path):
    composed, decomposed = forms("pâté")
    put(tmp_path, f"{composed}/1.jpg", f"{decomposed}/1.jpg")
    assert "are two files of one name" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\x7f", "a\x85b", "a\u2028b"])
def test_control_characters_in_a_class_name_are_refused_and_never_shown_raw(tmp_path, name):
    put(tmp_path, f"{name}/1.jpg", "dog/1.jpg")
    message = refusal(tmp_path)
    assert "the class name" in message and "; remove it" in message
    assert message.isprintable()


def test_a_name_that_cannot_be_seen_is_refused(tmp_path):
    put(tmp_path, "\u200b/1.jpg", "dog/1.jpg")
    assert "the name of the folder '\\u200b' cannot be seen" in refusal(tmp_path)
