"""Study files: YAML in, words or one line out."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.study import Study
from tests.conftest import TINY

TEXT = yaml.safe_dump(TINY, sort_keys=False)
OTHER = "tasks:\n  other:\n    data: other\n    "


def test_a_file_means_what_its_yaml_says() -> None:
    assert Study.parse(TEXT) == Study.model_validate(TINY)
    assert Study.parse("\ufeff".encode().decode("utf-8-sig") + TEXT) == Study.model_validate(TINY)


@pytest.mark.parametrize(
    ("written", "read"),
    [("3e-4", 3e-4), ("3.0e-4", 3e-4), ("1E-2", 1e-2), ("0.01", 0.01), ("1", 1.0)],
)
def test_learning_rates_are_numbers_as_people_write_them(written: str, read: float) -> None:
    assert Study.parse(TEXT.replace("batch: 32", f"lr: {written}", 1)).recipe.lr == read


def test_a_number_in_quotes_is_text() -> None:
    for text in (
        TEXT.replace("steps: 40", "steps: '40'"),
        TEXT.replace("batch: 32", "lr: '3e-4'", 1),
    ):
        with pytest.raises(
            InputError,
            match=r"line \d+: (budget.steps|recipe.lr): Input should be a valid (integer|number), "
            r"not '",
        ):
            Study.parse(text)
    assert Study.parse(TEXT.replace("study: tiny-world", "study: '3e4'")).study == "3e4"


def test_a_study_from_a_file_is_the_same_words_as_one_from_nowhere() -> None:
    read, made = Study.parse(TEXT), Study.model_validate(TINY)
    assert read == Study.parse("# moved down by a line\n" + TEXT) == made
    assert read.words() == made.words()
    assert repr(read) == repr(made)
    assert hash(read.arms()[0]) == hash(made.arms()[0])


def test_aliases_that_do_not_explode_are_followed() -> None:
    text = TEXT.replace("kind: world\n    train: 192", "kind: world\n    train: &n 192").replace(
        "test: 64", "test: *n", 1
    )
    data = Study.parse(text).data["paint"]
    assert data.kind == "world"
    assert data.test == data.train == 192


def test_the_error_that_stands_first_in_the_file_is_told_and_the_rest_counted() -> None:
    text = (
        TEXT.replace("seeds: 1", "seeds: none")
        .replace("steps: 40", "steps: -3")
        .replace("shots:", "shuts:")
    )
    lines = text.splitlines()
    with pytest.raises(
        InputError,
        match=rf"^study, line {lines.index('seeds: none') + 1}: seeds: .*\(and 2 more errors\)$",
    ):
        Study.parse(text)


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("recipe", "weight_decoy", "weight_decay"),
        ("protocols.probe", "drows", "draws"),
        ("data.paint", "famillies", "families"),
        ("tasks.other", "lables", "labels"),
    ],
)
def test_a_misspelt_key_at_any_depth_is_named_with_its_line_and_the_nearest_key(
    path: str, wrong: str, right: str
) -> None:
    import copy

    words = copy.deepcopy(TINY)
    at = words
    for part in path.split("."):
        at = at[part]
    at[wrong] = 1
    text = yaml.safe_dump(words, sort_keys=False)
    line = next(i for i, t in enumerate(text.splitlines(), 1) if t.strip() == f"{wrong}: 1")
    with pytest.raises(
        InputError,
        match=rf"^study, line {line}: unknown key '{path}\.{wrong}'; did you mean '{right}'\?",
    ):
        Study.parse(text)


@pytest.mark.parametrize(
    ("block", "at", "message"),
    [
        (
            "sources:\n  paint:\n    seeds:\n    - 0\n    - 4\n",
            "    - 4",
            r"sources\.paint\.seeds\.1: seed 4 is not among the study's seeds; add it there",
        ),
        (
            "sources:\n  paint:\n    seeds: 2\n",
            "    seeds: 2",
            r"sources\.paint\.seeds\.1: seed 1 is not among the study's seeds",
        ),
        (
            OTHER + "sources: paintt\n",
            "    sources: paintt",
            r"tasks.other.sources.0: 'paintt' is not defined; did you mean 'paint'\?",
        ),
        (
            OTHER + "sources:\n    - paint\n    - sea\n",
            "    - sea",
            r"tasks.other.sources.1: 'sea' is not defined; defined are paint",
        ),
    ],
)
def test_a_seed_or_source_that_narrows_to_nothing_known_is_named_with_its_line(
    block: str, at: str, message: str
) -> None:
    key = block.split(":")[0]
    text = TEXT.replace("sources:\n- paint\n" if key == "sources" else OTHER.rstrip(" "), block)
    with pytest.raises(
        InputError, match=rf"^study, line {text.splitlines().index(at) + 1}: {message}"
    ):
        Study.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_a_study_or_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Study.parse(text)
    assert "\n" not in " ".join(str(caught.value).split())


@given(st.data())
def test_a_study_with_a_line_changed_is_a_study_or_one_line(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    lines[at] = data.draw(
        st.sampled_from(
            [
                "",
                line + " x",
                line + ": [",
                "  " + line,
                line.replace(":", ""),
                "- " + line,
                line.upper(),
            ]
        )
    )
    message = "study"
    try:
        Study.parse("\n".join(lines))
    except InputError as error:
        message = str(error)
    assert message.startswith("study")
    assert "\n" not in message
