"""Study files that mean harm: refused at once, whatever is in them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from headwater.errors import InputError
from headwater.study import Study
from headwater.study.file import MAX_BYTES

MB = 1 << 20
HOSTILE = {
    "deep lists": "a: " + "[" * MB,
    "deep mappings": "".join(" " * depth + "a:\n" for depth in range(500)),
    "deep and closed": "a: " + "[" * 100_000 + "]" * 100_000,
    "questions": "? " * 100_000,
    "laughs": "a: &a [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else '*a'] * 9)}]\n" for i in range(9)
    ),
    "aliases": "a: &a x\nb: [" + "*a," * 80_000 + "]",
    "a huge integer": "seeds: " + "9" * 15_000,
    "a huge hexadecimal": "seeds: 0x" + "f" * 15_000,
    "sixties": "seeds: " + ":".join(["59"] * 6_000),
    "a huge float": "budget: " + "1" * 15_000 + ".5",
    "a long key": "k" * 1_000 + ": 1",
    "a longer key": '"' + "k" * 200_000 + '": 1',
    "many keys": "".join(f"k{i}: 1\n" for i in range(25_000)),
    "anchors": "a: [" + "".join(f"&a{i} 1," for i in range(25_000)) + "]",
    "tags": "a: [" + "!!int 1," * 30_000 + "]",
    "documents": "--- a\n" * 40_000,
    "a long text": "question: " + "x" * 200_000,
    "a megabyte": "# " + "x" * MB,
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_in_two_seconds_of_work(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(InputError, match=r"study\.yaml") as error:
        Study.load(path)
    assert time.process_time() - began < 2
    assert len(str(error.value)) < 500


def test_too_many_values_are_refused_before_anything_is_built_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("yaml.compose", lambda *_, **__: pytest.fail("something was built"))
    for text in (HOSTILE["many keys"], HOSTILE["anchors"], HOSTILE["aliases"]):
        with pytest.raises(InputError, match="holds too many values"):
            Study.parse(text)


def test_a_file_is_read_no_further_than_a_study_goes(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="too large for a study file"):
        Study.load(path)


CHARACTERS = {
    "an escape": "\\e[31m",
    "a null": "\\0",
    "C1": "\\x9b",
    "an override": "\\u202e",
    "an isolate": "\\u2066",
    "a delete": "\\x7f",
    "half a pair": "\\ud800",
}


@pytest.mark.parametrize("text", CHARACTERS.values(), ids=CHARACTERS)
def test_words_and_keys_of_a_study_hold_no_control_character(text: str) -> None:
    for study in (f'study: "a{text}"', f'"a{text}": 1', f'data: {{"a{text}": 1}}'):
        with pytest.raises(InputError, match=r"line 1: .* a character that is no text") as error:
            Study.parse(study)
        assert str(error.value).isprintable()


def test_a_study_made_in_python_holds_none_either() -> None:
    with pytest.raises(ValueError, match=r"holds an escape"):
        Study.model_validate({"study": "a", "question": "why\x1b[31m"})


def test_a_label_view_has_a_longest_name() -> None:
    with pytest.raises(InputError, match="at most 256 characters"):
        Study.parse(
            "study: a\ndata: {w: {kind: world}}\nsources: [w]\nbudget: {steps: 1}\n"
            f"tasks: {{w: {{data: w}}}}\nlabels: [{'x' * 257}]\n"
        )


def test_ten_thousand_seeds_are_read_in_seconds() -> None:
    words = "study: a\ndata: {w: {kind: world}}\nsources: [w]\nbudget: {steps: 1}\n"
    words += "tasks: {w: {data: w}}\n"
    began = time.process_time()
    assert len(Study.parse(words + "seeds: 10000\n").arms()) == 20_000
    assert time.process_time() - began < 5
    with pytest.raises(InputError, match="between 1 and 10000"):
        Study.parse(words + "seeds: 10001\n")
