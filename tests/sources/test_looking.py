"""Images that cannot be read: found before anything is drawn, each with its reason."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headwater.digests import framed
from headwater.errors import InputError
from headwater.sources.file_state import settle
from headwater.sources.folder import FolderSource
from headwater.sources.looking import EVERYTHING, Looked, Looking, judges, look, named
from headwater.sources.looking.look import told_kinds
from headwater.sources.looking.verdicts import Verdicts, _kind
from headwater.sources.pixels import PixelCache, decode, judging
from headwater.sources.pixels.kept import Kept, checksum


def picture(form: str = "PNG", side: int = 40, **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG by hand, of any promise."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0]))
    return head + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (30, 30), (i, 99, 0)) for i in range(0, 250, 50)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


JPEG, PNG, WEBP, GIF, BMP, TIFF = map(picture, ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"))
PROGRESSIVE = picture("JPEG", 96, progressive=True)
BAD: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "empty file"),
    "a file of one byte": (b"x", "text"),
    "one byte that is no text": (b"\xff", "no image"),
    "a JPEG cut in half": (JPEG[: len(JPEG) // 2], "cut short"),
    "a progressive JPEG cut late": (PROGRESSIVE[: 9 * len(PROGRESSIVE) // 10], "cut short"),
    "a JPEG of its first 20 bytes": (JPEG[:20], "cut short"),
    "a JPEG whose second half is zeros": (
        JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
        "cut short",
    ),
    "a JPEG header with text after it": (b"\xff\xd8\xff\xe0" + b"hello" * 40, "cut short"),
    "a PNG cut short": (PNG[: len(PNG) // 2], "cut short"),
    "a PNG whose pixels' checksum is wrong": (
        flipped(PNG, PNG.index(b"IEND") - 8),
        "wrong checksum",
    ),
    "a PNG whose size's checksum is wrong": (flipped(PNG, 29), "damaged"),
    "a PNG of 100,000 x 100,000": (png(100_000, 100_000), "too many pixels"),
    "a PNG of no pixels": (png(0, 0), "damaged"),
    "a PNG that promises more than it holds": (png(900, 900, b"1234"), "cut short"),
    "a WebP cut short": (WEBP[: len(WEBP) // 2], "cut short"),
    "a RIFF header only": (WEBP[:12], "cut short"),
    "four letters of RIFF": (b"RIFF", "cut short"),
    "a GIF cut in its first picture": (GIF[: len(GIF) // 2], "cut short"),
    "a BMP cut short": (BMP[: len(BMP) // 2], "cut short"),
    "an HTML page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
    "a text": ("Für Elise\n".encode(), "text"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid ", "Git LFS pointer"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "XML or SVG"),
    "a PDF": (b"%PDF-1.7\n\x80", "another kind of file (PDF)"),
    "an archive": (b"PK\x03\x04\x14\x00\x00", "another kind of file (ZIP)"),
    "a HEIC": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "another kind of file (HEIC)"),
    "a video": (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "another kind of file (video)"),
    "a sound": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "another kind of file (sound or video)"),
    "zero bytes": (bytes(5000), "zero bytes only"),
    "noise": (np.random.default_rng(0).bytes(4000), "no image"),
}
GOOD: dict[str, bytes] = {
    "a JPEG": JPEG,
    "a progressive JPEG": PROGRESSIVE,
    "a grey JPEG": (lambda file: (Image.new("L", (9, 9)).save(file, "JPEG"), file.getvalue())[1])(
        io.BytesIO()
    ),
    "a JPEG with something after its end": JPEG + b"appended by a camera",
    "a JPEG without its last mark": JPEG[:-2],
    "a PNG": PNG,
    "a WebP": WEBP,
    "a GIF": GIF,
    "an animation cut after its first picture": animation()[: len(animation()) - 40],
    "a BMP": BMP,
    "a TIFF": TIFF,
    "a picture of one pixel": picture("PNG", 1),
    "a PNG under the name of a JPEG": PNG,
}


def source_of(root: Path, files: dict[str, bytes], cache: Path | None = None) -> FolderSource:
    for name, data in {"sound": PNG, **files}.items():
        path = root / "class" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return FolderSource("set", root, fingerprint_cache=cache)


def looked(source: FolderSource, looking: Looking = EVERYTHING) -> dict[str, str]:
    """What is wrong, by file."""
    found = look(source, np.arange(len(source.table)), 16, looking)
    return {Path(source.table.ids[at]).stem: kind for at, kind in found.bad.items()}


def test_every_kind_of_bad_file_is_found_with_its_reason_and_no_sound_one(tmp_path: Path) -> None:
    files = {name: data for name, (data, _) in BAD.items()} | GOOD
    assert looked(source_of(tmp_path, files)) == {name: kind for name, (_, kind) in BAD.items()}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (_pipe, "no regular file"),
    "socket": (_socket, "no regular file"),
    "folder": (lambda path: path.mkdir(), "no regular file"),
    "link to nothing": (lambda path: path.symlink_to("gone.jpg"), "no such file"),
    "link to nothing outside": (lambda path: path.symlink_to("/gone/x.jpg"), "no such file"),
    "link to itself": (lambda path: path.symlink_to(path.name), "no such file"),
    "device": (lambda path: path.symlink_to("/dev/null"), ""),
}


@pytest.mark.parametrize("case", [name for name in NO_FILES if name != "device"])
def test_what_is_no_file_by_an_images_name_is_found_and_not_waited_for(
    case: str, tmp_path: Path
) -> None:
    make, kind = NO_FILES[case]
    (tmp_path / "class").mkdir()
    make(tmp_path / "class" / f"{case}.jpg")
    assert looked(source_of(tmp_path, {}), Looking()) == {case: kind}


def test_a_pipe_that_took_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    _pipe(tmp_path / "a.jpg")
    assert judging.judge(str(tmp_path / "a.jpg"), 16).kind == judging.NO_FILE


def test_a_link_to_a_device_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "device.jpg").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="leads out of the root"):
        source_of(tmp_path, {})


def test_a_file_that_may_not_be_read_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system says it of such a file; root may read everything."""
    opened = os.open

    def refused(path: Any, *given: Any, **named: Any) -> int:
        if str(path).endswith("closed.jpg"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *given, **named)

    source = source_of(tmp_path, {"closed": PNG})
    monkeypatch.setattr(os, "open", refused)
    assert looked(source) == {"closed": "may not be read"}


def test_a_file_that_a_csv_lists_and_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "labels.csv").write_text("path\na.png\ngone.png\n")
    source = FolderSource("set", tmp_path)
    found = look(source, np.arange(2), 16)
    assert found.bad == {1: "no such file"}
    assert named(source, found).endswith(
        f"no such file: 1 ('gone.png', listed in {tmp_path}/labels.csv, line 3)"
    )


def test_a_list_of_which_no_file_is_there_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path\na.png\ngone.png\n")
    with pytest.raises(InputError, match=r"'a\.png' cannot be read \(there is no such file"):
        FolderSource("set", tmp_path)


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderSource:
    """40 files and a sound one, 5 of them bad; processes judge them, 8 at a time."""
    monkeypatch.setattr(judges, "FEW", 10)
    monkeypatch.setattr(judges, "_CHUNK", 8)
    bad = {f"{number:03d}": b"no picture" for number in (0, 1, 7, 8, 39)}
    return source_of(tmp_path / "many", {f"{number:03d}": PNG for number in range(40)} | bad)


def test_the_set_is_the_same_whatever_the_number_of_workers(many: FolderSource) -> None:
    found = [
        look(many, np.arange(len(many.table)), 16, Looking(most=None, workers=workers)).bad
        for workers in (1, 3)
    ]
    assert found[0] == found[1]
    assert list(found[0]) == [0, 1, 7, 8, 39]


@pytest.mark.slow
def test_a_decoder_that_dies_of_one_image_takes_nothing_with_it(
    many: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends hard at one file, as a decoder's crash does; the others are judged."""
    dies = (
        "import os, sys; from headwater.sources.pixels import judging; was = judging.judge\n"
        "def judge(path, size):\n"
        "    if path.endswith('020.jpg'): os._exit(11)\n"
        "    return was(path, size)\n"
        "judging.judge = judge; judging.main()"
    )
    monkeypatch.setattr(judges, "_COMMAND", (judges._COMMAND[0], "-c", dies))
    found = looked(many, Looking(most=None, workers=2))
    assert found["020"] == "ends the decoder"
    assert len(found) == 6
    # one file is few enough to be judged in this process, which would end
    monkeypatch.setattr(judges, "judge", lambda path, size: pytest.fail(f"{path} is opened again"))
    assert looked(many, Looking(most=None)) == found


def test_a_machine_without_memory_is_an_error_of_one_line_for_few_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: str, size: int) -> None:
        raise MemoryError("no room")

    source = source_of(tmp_path, {"one": PNG})
    monkeypatch.setattr(judges, "judge", fails)
    with pytest.raises(InputError, match=r"on this machine now \(MemoryError: no room\)"):
        looked(source)


def test_kept_pixels_that_are_not_what_was_kept_are_decoded_again(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    file = tmp_path / "spool.u8"
    file.write_bytes(b"12345678" + pixels.tobytes())
    kept = Kept(file, 8, 4, 4, checksum(pixels))
    found = kept.read()
    assert found is not None and np.array_equal(found, pixels)
    for at in (8, 30, 55):
        changed = bytearray(file.read_bytes())
        changed[at] ^= 1
        (tmp_path / "other.u8").write_bytes(changed)
        assert Kept(tmp_path / "other.u8", 8, 4, 4, checksum(pixels)).read() is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"P5 64 64 255\n" + bytes(100), {"cut short", "damaged"}),
        (b"P6\t9 9 255\n", {"cut short", "damaged"}),
        (b"\x00\x00\x00\x2cftypavif" + bytes(80), {"cut short", "damaged"}),
        (b"\x00\x00\x00\x18ftypmif1" + bytes(80), {"another kind of file (HEIF)"}),
        (b"P5 is a house number", {"text"}),
    ],
)
def test_files_of_formats_that_are_read_are_damaged_and_no_other_kind(
    data: bytes, kind: set[str]
) -> None:
    assert judging.judge_bytes(data, 16).kind in kind


def test_processes_that_cannot_start_are_an_error_and_no_verdict(
    many: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "_COMMAND", ("false",))
    with pytest.raises(InputError, match="could not be started"):
        looked(many)


def test_a_look_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, int, int, int]] = []
    source = source_of(tmp_path, {"bad": b"", "text": b"no picture"})
    looked(source, Looking(most=None, watch=lambda *said: told.append(said)))
    assert told[0] == ("set", 0, 2, 0)  # an empty file need not be opened
    assert told[-1] == ("set", 2, 2, 1)


def test_files_are_opened_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    was = judges.judge
    monkeypatch.setattr(judges, "judge", lambda path, size: opened.append(path) or was(path, size))
    root, cache = tmp_path / "set", tmp_path / "bytes.parquet"
    first = looked(source_of(root, {"bad": JPEG[:200], "other": JPEG}, cache))
    assert (len(opened), first) == (3, {"bad": "cut short"})
    again = FolderSource("set", root, fingerprint_cache=cache)
    assert looked(again, Looking()) == first  # remembered, with nothing opened
    assert len(opened) == 3
    path = root / "class" / "other.jpg"
    before = path.stat()
    path.write_bytes(bytes(len(JPEG)))  # as long, and of the same time
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = FolderSource("set", root, fingerprint_cache=cache)
    assert looked(again) == {"bad": "cut short", "other": "zero bytes only"}
    assert len(opened) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_converted_is_counted_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """By threads of this process and by processes alike."""
    monkeypatch.setattr(judges, "FEW", 256 if workers == 1 else 0)
    turned = Image.Exif()
    turned[274] = 6
    files = {
        "two": animation(),
        "turned": picture("JPEG", exif=turned.tobytes()),
        "bad": animation()[:30],
    }
    cache = tmp_path / "bytes.parquet"
    source = source_of(tmp_path / "set", files, cache)
    positions = np.arange(len(source.table))
    first = look(source, positions, 16, Looking(most=None, workers=workers))
    assert first.converted == {"first frame": 1, "orientation": 1, "palette": 1}
    again = FolderSource("set", tmp_path / "set", fingerprint_cache=cache)
    remembered = look(again, positions, 16, Looking())
    assert (remembered.unopened, remembered.converted) == (0, first.converted)


def test_a_file_of_a_moment_ago_is_judged_a_moment_later(tmp_path: Path) -> None:
    """A second change within one tick of the clock of files would not be seen."""
    judged_at: list[int] = []
    source = source_of(tmp_path, {})
    path = tmp_path / "class" / "sound.jpg"
    os.utime(path)
    changed = path.stat().st_ctime_ns
    looked(source, Looking(most=None, watch=lambda *said: judged_at.append(time.time_ns())))
    assert judged_at[-1] - changed >= 10_000_000
    begin = time.perf_counter()
    settle(time.time_ns() - 10**9)
    settle(time.time_ns() + 10**12)  # a clock that was set back
    assert time.perf_counter() - begin < 0.5


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "other decoders"])
def test_verdicts_that_are_damaged_are_made_anew(
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, cache = tmp_path / "set", tmp_path / "bytes.parquet"
    source = source_of(root, {"bad": JPEG[:200]}, cache)
    expected, kept = looked(source), source.verdicts
    assert kept is not None
    data = kept.read_bytes()
    if damage == "cut":
        kept.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        at = data.index(b"cut short") + 2
        kept.write_bytes(data[:at] + b"X" + data[at + 1 :])
    elif damage == "text":
        kept.write_text("nothing that Parquet could be")
    else:
        monkeypatch.setattr("headwater.sources.looking.verdicts.RECIPE", 99)
    caplog.clear()
    assert not Verdicts(kept)._known
    assert ("is made again" in caplog.text) is (damage in ("cut", "flip"))
    assert looked(FolderSource("set", root, fingerprint_cache=cache)) == expected


def test_verdicts_that_promise_a_great_many_rows_allocate_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "looked.parquet"
    Verdicts(kept).save()
    rows = pa.array([""]).take(pa.array(np.zeros(2_000_000, np.int64)))
    columns = dict.fromkeys(("id", "kind", "converted"), rows)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    kept.write_bytes(framed(_kind(), buffer.getvalue()))
    assert not Verdicts(kept)._known
    assert "its header promises 2000000 rows" in caplog.text


def test_what_may_pass_is_not_remembered(tmp_path: Path) -> None:
    """A disk that failed to answer, or a file that was not there yet."""
    root, cache = tmp_path / "set", tmp_path / "bytes.parquet"
    source = source_of(root, {"late": PNG}, cache)
    path = root / "class" / "late.jpg"
    path.rename(tmp_path / "away.jpg")
    assert looked(source) == {"late": "no such file"}
    (tmp_path / "away.jpg").rename(path)
    assert looked(FolderSource("set", root, fingerprint_cache=cache)) == {}


def test_many_files_are_not_opened_unless_asked(many: FolderSource) -> None:
    found = look(many, np.arange(len(many.table)), 16, Looking(most=40))
    assert (found.bad, found.unopened) == ({}, 41)


def test_pixels_that_a_look_decoded_fill_a_cache_and_are_those_of_decoding(
    many: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(most=None, workers=2, spool=tmp_path / "spool")
    found: Looked = look(many, np.arange(len(many.table)), 16, looking)
    good = np.setdiff1d(np.arange(len(many.table)), list(found.bad))
    assert sorted(found.kept) == good.tolist()
    read: list[int] = []
    monkeypatch.setattr(FolderSource, "image", lambda self, at: read.append(at))
    cache = PixelCache.build(many, good, 16, tmp_path / "c", fingerprint="f", kept=found.kept)
    assert read == []
    assert np.array_equal(cache.image(5), decode(PNG, 16, "png"))
    monkeypatch.undo()
    for file in {kept.file for kept in found.kept.values()}:
        file.unlink()  # what is gone is decoded
    again = PixelCache.build(many, good, 16, tmp_path / "d", fingerprint="f", kept=found.kept)
    assert np.array_equal(again.pixels, cache.pixels)


def test_pixels_that_cannot_be_kept_are_no_fault_of_the_images(
    many: FolderSource, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder can be made in this")
    looking = Looking(most=None, workers=1, spool=tmp_path / "file" / "spool")
    assert len(looked(many, looking)) == 5


def test_ten_are_named_and_all_are_counted() -> None:
    bad = [(f"'{number:02d}'", "cut short") for number in range(15)] + [("'x'", "empty file")]
    told = told_kinds(bad)
    assert told.startswith("cut short: 15 ('00', '01', ")
    assert told.endswith("'08', ...); empty file: 1 ('x')")


def test_the_judging_process_says_nothing_else_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    question = f'{{"paths": ["{tmp_path}/a.jpg"], "image_size": 16, "spool": null}}\n'
    done = subprocess.run(
        judges._COMMAND, input=question, capture_output=True, text=True, check=True
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {} and (second["kinds"], second["sizes"]) == ([None], [[20, 20]])
