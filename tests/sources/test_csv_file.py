"""labels.csv as others write it: every row is read, or the file is refused with the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.sources.tables.csv_file import read_csv
from headwater.sources.tables.labels import read_labels


def written(folder: Path, raw: bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(raw)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # the case of a caption that opens a mark in row 5 of 18
        (
            b"path,level1\n"
            + b"".join(b"%d.png,x\n" % at for at in range(4))
            + b'4.png,"19 inch\n'
            + b"".join(b"%d.png,x\n" % at for at in range(5, 18)),
            "line 6: a quotation mark opens a field here that is never closed, so that the 13 "
            "lines after it",
        ),
        (b'path,level1\na.png,"x', "line 2: a quotation mark opens a field"),
        (b'path,level1\r\na.png,x\r\n"b.png,y\r\n', "line 3: a quotation mark opens a field"),
        (b'path,level1\na.png,"x ""y""\nb.png,y\n', "line 2: a quotation mark opens a field"),
        (b'"path,level1\na.png,x\n', "line 1: the header opens a quotation mark"),
        (b'path,level1\na.png,"x" y\nb.png,z\n', "line 2: the quoted field that opens here"),
        (
            b'path,level1\na.png,"x\nb.png,"y"\nc.png,z\n',
            "line 2: the quoted field that opens here is closed in line 3",
        ),
        (b'path,t\na.png,"one\ntwo"\n\nb.png,"x"y\n', "line 5: the quoted field"),
        (
            b'path,t\na.png,"open\nb.png,x\nc.png,"\nd.png,y\n',
            "line 2: a quoted field of this row holds 2 line(s) that look like rows",
        ),
        (b'path,t\na.png,"open\nb.png,"\n', "holds 1 line(s) that look like rows"),
    ],
)
def test_a_quotation_mark_that_would_swallow_rows_is_an_error_with_its_line(
    tmp_path, raw, expected
):
    assert expected in refusal(written(tmp_path, raw))


@pytest.mark.parametrize(
    "raw",
    [
        b'path,t\na.png,19" screen\nb.png,5"6"\n',
        b'path,t\na.png,x""y\nb.png,"quoted ""word"""\n',
        b'path,t\na.png,""\nb.png," "\n',
        b'path,t\na.png,he said "hi" twice\nb.png,"two\nlines"\n',
        b'path,t\r\na.png,"a,b"\r\nb.png,ends with"\r\n',
        b'\xef\xbb\xbfpath,t\na.png,"""whole"""\nb.png,"\r\n"\n',
        b'path,t\n"a.png",it""s\n"b.png","""",\n'.replace(b",\n", b"\n"),
    ],
)
def test_lone_marks_in_unquoted_fields_are_text_as_in_other_readers(tmp_path, raw):
    """Python's reader is the independent one."""
    file = read_csv(written(tmp_path, raw))
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))[1:]
    columns = [column.to_pylist() for column in file.columns]
    assert list(map(list, zip(*columns, strict=True))) == rows


FIELD = st.text(alphabet='ab," \n\r"é', max_size=6)


@given(
    st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=25, deadline=None)
def test_every_row_that_a_csv_writer_writes_is_read_with_its_line(tmp_path_factory, rows, end):
    text = io.StringIO()
    broken = any(mark in field for row in rows for field in row for mark in "\r\n")
    quoting = csv.QUOTE_ALL if broken else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow(["a", "b"])
    lines = []
    for row in rows:
        so_far = text.getvalue().replace("\r\n", "\n").replace("\r", "\n")
        lines.append(so_far.count("\n") + 1)
        writer.writerow(row)
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(text.getvalue().encode())
    file = read_csv(path)
    assert list(zip(*(c.to_pylist() for c in file.columns), strict=True)) == rows
    assert file.lines() == lines


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"path,level1\na.png,x,1\nb.png\nc.png,y\n", "line 2: the row has 3 fields, the header"),
        (b"path,level1\na.png,x,1\nb.png\nc.png,y\n", "(and 1 further rows have another number)"),
        (b'path,t\na.png,"x\ny"\n\nb.png\n', "line 5: the row has 1 fields, the header has 2"),
        (b"path,level1\r\na.png,x\r\nb.png,y,\r\n", "line 3: the row has 3 fields"),
        (b"path,level1\ra.png,x\rb.png\r", "line 3: the row has 1 fields"),
        (b"path,level1\n", "there is a header but no row"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"path;level1\na.png;x\n", "line 1: the fields seem to be separated by semicolons"),
        (b"path\tlevel1\na.png\tx\n", "line 1: the fields seem to be separated by tabs"),
        ("path,level1\na.png,x\n".encode("utf-16"), "line 1: this is not UTF-8"),
        ("path,level1\na.png,x\n".encode("utf-16-le"), "line 1: there is a null character"),
        (b"path,level1\na.png,x\nb.png,y\x00\n", "line 3: there is a null character"),
        ("path,level1\na.png,x\nb.png,é\n".encode("latin-1"), "line 3: this is not UTF-8"),
        (b"path,t,t\na.png,x,y\n", "line 1: the column 't' is there twice"),
        (b"path,label\na.png,x\nb.png,y\n./a.png,y\n", "line 4: the path 'a.png' is listed twice"),
        (b"path,t,Split,split\na.png,x,train,test\n", "are one name in different case"),
        (b"path,level1\na.png,x\x1b[2J\n", "line 2: the class name 'x\\x1b[2J' holds an escape"),
    ],
)
def test_what_cannot_be_read_whole_is_refused_with_the_line(tmp_path, raw, expected):
    assert expected in refusal(written(tmp_path, raw))


@pytest.mark.parametrize(
    "header",
    [
        "filename,label",
        "file,class",
        "file_name,category",
        "Image,Target",
        "img_path,class_name",
        "FilePath,Class Name",
        "image_path,LABEL",
    ],
)
def test_columns_as_others_call_them_are_read_and_told(tmp_path, header):
    listing = read_labels(written(tmp_path, f"{header}\nb.png,y\na.png,x\n".encode()))
    assert listing.table.ids.tolist() == ["a.png", "b.png"]
    assert [level.tolist() for level in listing.table.levels] == [["x", "y"]]
    path, label = header.split(",")
    assert listing.notes == (
        f"labels.csv: the column {path!r} is read as path",
        f"labels.csv: the column {label!r} is read as level1",
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("filename,image,label", "'filename' and 'image' can all be the images' paths; rename"),
        ("path,label,class_name", "'label' and 'class_name' can all be the class; rename the one"),
        ("path,target,category", "to 'level1'"),
        ("image_id,label,split", "rename the column of the images' paths to 'path'"),
        ("url,label,text", "there is no column path; the header has 'url', 'label', 'text'"),
    ],
)
def test_columns_that_can_mean_two_things_are_refused_with_the_name_to_write(
    tmp_path, header, expected
):
    assert expected in refusal(written(tmp_path, f"{header}\na.png,x,y\n".encode()))


def test_levels_and_path_win_over_what_others_call_them(tmp_path):
    listing = read_labels(written(tmp_path, b"file,path,label,class,level1\nq,a.png,1,2,x\n"))
    assert listing.table.ids.tolist() == ["a.png"]
    assert [level.tolist() for level in listing.table.levels] == [["x"]]
    assert list(listing.table.texts) == ["file", "label", "class"]
    assert listing.notes == ()


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ("train Training TRAIN_SET train2017 trainval", "train"),
        ("val Valid validation VALIDATION dev val_set", "val"),
        ("test Testing TEST holdout hold-out evaluation", "test"),
    ],
)
def test_splits_are_read_in_every_usual_form_with_spaces_and_in_any_case(tmp_path, words, split):
    for at, word in enumerate(words.split()):
        raw = f"path,Split\n{at}.png, {word} \n".encode()
        assert read_labels(written(tmp_path, raw)).table.splits["split"].tolist() == [split]


def test_eval_is_read_as_test_and_told(tmp_path):
    listing = read_labels(written(tmp_path, b"path,split\na.png,train\nb.png,Eval\n"))
    assert listing.table.splits["split"].tolist() == ["train", "test"]
    assert listing.notes == ("labels.csv: the split 'Eval' is read as test",)


def test_eval_beside_test_and_a_split_column_of_another_name_are_refused(tmp_path):
    raw = b"path,split\na.png,train\nb.png,test\nc.png,eval\n"
    assert "line 4: the split 'eval' stands beside 'test'" in refusal(written(tmp_path, raw))
    for name in (b"subset", b"set", b"partition", b"phase", b"usage"):
        raw = b"path,level1," + name + b"\na.png,x,Train\nb.png,x,TEST\n"
        assert f"the column {name.decode()!r} holds 'TEST', 'Train'" in refusal(
            written(tmp_path, raw)
        )
    raw = b"path,split,was\na.png,train,train\nb.png,test,val\n"
    assert read_labels(written(tmp_path, raw)).table.texts["was"].tolist() == [["train"], ["val"]]


def test_a_column_without_a_name_is_left_out_and_told(tmp_path):
    listing = read_labels(written(tmp_path, b",path,level1\n0,a.png,x\n1,b.png,y\n"))
    assert list(listing.table.texts) == []
    assert listing.notes == ("labels.csv: 1 column(s) without a name are not read",)
