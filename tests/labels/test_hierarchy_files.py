"""Files of hierarchies: one tree from every way of writing it, and a mistake is one line."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.labels.hierarchies import open_hierarchy


def written(folder: Path, content: str | bytes, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ("a b\na c\nb d\nb e\n", ""),
        ("a\tb\r\na\tc\r\n\r\nb\td\r\nb\te", ""),
        ("\ufeffa,b\na,c\nb,d\nb,e\na,b\n", ""),
        ("parent,child\na,b\na,c\nb,d\nb,e\n", ""),
        ("child,parent\nb,a\nc,a\nd,b\ne,b\n", ""),
        ("Child\tParent\nb\ta\nc\ta\nd\tb\ne\tb\n", "#child-parent"),
        ("b a\nc a\nd b\ne b\n", "#child-parent"),
        ("a\n\n-- c\n-- b (subfam)\n---- d\n---- e\n", ""),
        (
            '{"name": "a", "children": [{"name": "c"}, {"name": "b", "children": [{"name": "d", '
            '"size": 1}, {"name": "e"}]}]}',
            "",
        ),
        (
            '{"LabelName": "a", "Subcategory": [{"LabelName": "b", "Subcategory": [{"LabelName": '
            '"d"}, {"LabelName": "e"}]}, {"LabelName": "c"}]}',
            "",
        ),
        ("level1,level2,level3\na,b,d\na,b,e\na,c,\n", ""),
        ("path,level1,level2,level3\n1.png,a,b,d\n2.png,a,b,e\n2.png,a,c,\n", ""),
        ("species,Genus,family,note\nd,b,a,x\ne,b,a,\n,c,a,\n", ""),
        ("top,mid,low\na,b,d\na,b,e\na,c,\n", ""),
        ("x,low,y,mid,top\n1,d,1,b,a\n1,e,1,b,a\n1,,1,c,a\n", "#top>mid>low"),
    ],
)
def test_one_tree_is_read_from_every_way_of_writing_it(tmp_path, content, suffix):
    hierarchy = open_hierarchy(f"{written(tmp_path, content)}{suffix}", where="test")
    spelled = {"b d": "d", "b e": "e"}  # species by their genus
    plain = [spelled.get(name, name) for name in hierarchy.names]
    edges = {
        (plain[parent], name)
        for name, above in zip(plain, hierarchy.parents, strict=True)
        for parent in above
    }
    assert edges == {("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")}


def test_the_first_line_of_a_table_is_not_taken_for_a_relation_unasked(tmp_path):
    path = written(tmp_path, "superclass,class\nanimal,dog\nanimal,cat\n", "classes.csv")
    with pytest.raises(
        InputError,
        match=r"line 1: 'superclass' and 'class' are nowhere else in the list, so this may be a "
        r"header",
    ):
        open_hierarchy(path, where="test")
    assert len(open_hierarchy(f"{path}#parent-child", where="test")) == 5
    assert len(open_hierarchy(f"{path}#superclass>class", where="test")) == 3


def test_open_images_titles_are_read_from_the_table_beside(tmp_path):
    written(tmp_path, '"/m/1","thing"\n"/m/2","cat, small"\n', "dict.csv")
    tree = {
        "LabelName": "/m/1",
        "Subcategory": [{"LabelName": "/m/2", "Part": [{"LabelName": "/m/3"}]}],
    }
    hierarchy = open_hierarchy(written(tmp_path, json.dumps(tree), "bbox.json"), where="test")
    assert hierarchy.titles == {"/m/1": "thing", "/m/2": "cat, small"}
    assert hierarchy.names == ("/m/1", "/m/2")  # a part is no kind
    assert hierarchy.index_of(["cat, small"], "test").tolist() == [1]


def test_a_file_is_read_again_when_it_changes_and_only_then(tmp_path):
    path = written(tmp_path, "a b\na c\n")
    one = open_hierarchy(path, where="one")
    assert open_hierarchy(str(path), where="other") is one
    path.write_text("a b\na d\n")
    os.utime(path, ns=(1, 1))
    assert open_hierarchy(path, where="one").names == ("a", "b", "d")


TREE = '{"name": "a", "children": '
MISTAKES = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \r\n", "blank lines only"),
    "binary": (b"a b\n\x00\x01\x02\xff", "line 2: this is no text"),
    "pickle": (b"\x80\x04\x95\x10\x00\x00\x00", "line 1: this is no text"),
    "latin": ("a b\na caf\xe9\n".encode("latin-1"), "line 2: this is not UTF-8"),
    "utf-16": ("a b\n".encode("utf-16"), "this is no"),
    "three words": (
        b"a b\na b c\n",
        "line 2: a relation is two names with white space between them, here are 3",
    ),
    "one cell": (
        b"a,b\nc,\n",
        "line 2: a relation is two names with a comma between them, here are 1",
    ),
    "own parent": (b"a b\nb b\n", "line 2: the class 'b' is its own parent"),
    "cycle": (
        b"r a\nr x\na b\nb a\n",
        "own ancestors, from parent to child: (a -> b -> a|b -> a -> b)",
    ),
    "header only": (b"parent,child\n", "a header but no relation"),
    "open quote": (b'a,b\n"a,c\n', "line 2: "),
    "quote over lines": (
        b'a,b\n"a\nb",c\n',
        "line 2: a quote that opens here ends on another line",
    ),
    "long line": (b"a b\n" + b"x" * 100_000, "line 2: the line has 100000 characters"),
    "ragged": (
        b"kingdom,genus,species\nA,B,c\nA,B\n",
        "line 3: the row has 2 cells, the header has 3",
    ),
    "no class in a row": (b"kingdom,genus,species\nA,B,c\n,,\n", "line 3: no class is named"),
    "header of a table only": (b"kingdom,genus,species\n", "a header but no row"),
    "column twice": (b"kingdom,genus,genus\nA,B,c\n", "line 1: the column 'genus' is there twice"),
    "column without a name": (b"big,,small\nA,B,c\n", "line 1: a taxonomy has a header"),
    "no JSON": (b'{"name": "a",\n "children" [', "line 2: this is no JSON"),
    "number": (b'{"name": ' + b"9" * 5000 + b"}", "this is no JSON"),
    "other JSON": (b"[1, 2]", "this JSON is no class hierarchy"),
    "deep JSON": (b'{"name": "a", "children": ' * 100_000, "nested too deep"),
    "deep list": (b"[" * 100_000, "nested too deep"),
    "node without a name": (
        (TREE + '[{"id": 3}]}').encode(),
        "a node below 'a' has no text under 'name'",
    ),
    "children no list": (
        (TREE + '{"b": 1}}').encode(),
        "a node at the top has no text under 'name' or no list under 'children'",
    ),
    "node below itself": ((TREE + '[{"name": "a"}]}').encode(), "'a' is its own parent"),
    "odd dashes": (b"a\n-- b\n--- c\n", "line 3: a class comes after two dashes a step"),
    "step missing": (
        b"a\n-- b\n------ c\n",
        "line 3: 'c' is 3 steps below the top, the class before it 1",
    ),
    "class twice": (b"a\n-- b\n-- b\n", "line 3: the class 'b' is on line 2 already"),
    "no categories": (b'{"categories": []}', "there is no list of categories"),
    "category no object": (b'{"categories": [3]}', r"categories\[0\]: a category is an object"),
    "category without a name": (
        b'{"categories": [{"kingdom": "A"}]}',
        r"categories\[0\]: the class has neither image_dir_name nor name",
    ),
    "category without ranks": (
        b'{"categories": [{"id": 0, "name": "A b", "supercategory": "Birds"}]}',
        r"categories\[0\]: no rank is given",
    ),
    "category twice": (
        b'{"categories": [' + b'{"name": "A b", "genus": "A"},' * 2 + b"{}]}",
        r"categories\[1\]: the class 'A b' is categories\[0\]",
    ),
    "rank no text": (
        b'{"categories": [{"name": "A b", "genus": 3}]}',
        r"categories\[0\]: genus is a text, this is '3'",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_that_names_who_asked_and_the_file(tmp_path, kind):
    content, message = MISTAKES[kind]
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=rf"^labels of x: .*file\.txt.*{message}") as error:
        open_hierarchy(path, where="labels of x")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400 + len(str(path))


def test_a_huge_file_is_refused_without_being_read(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.write(b"a b\n")
        file.truncate(1 << 31)
    with pytest.raises(InputError, match="more than 256 MiB"):
        open_hierarchy(path, where="test")


def test_what_is_not_there_or_no_file_is_refused(tmp_path):
    with pytest.raises(
        InputError,
        match=r"^test: 'wordnett' is neither a file nor a hierarchy that comes with this package "
        r"\(wordnet, cifar100\)$",
    ):
        open_hierarchy("wordnett", where="test")
    with pytest.raises(InputError, match="a folder is a hierarchy only where it holds WordNet"):
        open_hierarchy(tmp_path, where="test")
    with pytest.raises(InputError, match="is neither a file nor"):
        open_hierarchy("a\0b", where="test")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="this is no file"):
        open_hierarchy(tmp_path / "pipe", where="test")
    path = written(tmp_path, "kingdom,genus\nA,B\n", "odd#name.csv")
    assert len(open_hierarchy(path, where="test")) == 2
    with pytest.raises(
        InputError, match="line 1: there is no column 'species'; the header has 'kingdom', 'genus'"
    ):
        open_hierarchy(f"{path}#kingdom>species", where="test")


PIECES = st.sampled_from(
    ["a", "b", "c", " ", "\t", ",", "\n", "\r\n", "--", '"', "{", "}", "[", "]", ":", "#", "\0",
     "\ufeff", "é", "kingdom", "genus", "level1", "parent", "child", '{"categories": [',
     '{"name": "x", "children": [', '{"LabelName": "x", ', '"genus": "G", ',
     "00000010 03 n 01 a 0 000 | b", "@", "9" * 30]
)  # fmt: skip


CONTENTS = st.one_of(
    st.binary(max_size=60), st.lists(PIECES, max_size=25).map(lambda some: "".join(some).encode())
)


@given(CONTENTS, st.sampled_from(["", "#child-parent", "#a>b", "#"]))
@settings(max_examples=400)
def test_no_content_of_a_file_ends_in_anything_but_a_hierarchy_or_one_line(
    tmp_path_factory, content, suffix
):
    path = written(
        tmp_path_factory.getbasetemp(), content, f"fuzz-{hashlib.sha256(content).hexdigest()}.txt"
    )
    try:
        assert len(open_hierarchy(f"{path}{suffix}", where="test"))
    except InputError as error:
        assert len(str(error).splitlines()) == 1


def test_the_names_that_a_study_may_use_are_those_that_are_built_in() -> None:
    from headwater.labels.hierarchies import BUILT_IN
    from headwater.sources.opening import BUILT_IN_HIERARCHIES

    assert set(BUILT_IN) == set(BUILT_IN_HIERARCHIES)
