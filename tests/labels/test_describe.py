"""Facts of label views: against scikit-learn, closed forms, plain loops and hand-worked cases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from headwater.labels import Targets, label_view, nesting, targets_of_sets
from headwater.labels import describe as room
from headwater.labels.describe import AlignmentFacts, against, describe, expected_direction
from headwater.labels.targets import LabelSets
from headwater.sources.folder import FolderSource
from tests.needs import DATA, needs_data

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=60)


def classes(codes: object, view: str = "some") -> Targets:
    """Single-label targets of any codes."""
    values, indices = np.unique(np.asarray(codes), return_inverse=True)
    return Targets(indices.astype(np.int64), tuple(map(str, values)), view)


def columns(of: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([a for a, _ in of]), np.array([b for _, b in of])


def several(sets: list[list[int]], codes: list[int]) -> Targets:
    """Multi-label targets; the labels are called by their numbers."""
    most = max(max(own) for own in sets) + 1
    return targets_of_sets(
        np.array(codes), LabelSets.of(sets), [f"{at:03d}" for at in range(most)], "some"
    )


# a view by itself
def test_the_facts_of_a_view_are_its_class_sizes():
    facts = describe(classes([7] * 12 + [8] * 3 + [9]))
    assert (
        facts.view,
        facts.classes,
        facts.images,
        facts.smallest,
        facts.median,
        facts.largest,
        facts.singletons,
    ) == ("some", 3, 16, 1, 3.0, 12, 1)
    assert facts.small_share == 4 / 16
    assert (facts.multi_label_share, facts.noise) == (0.0, None)
    assert facts.as_dict()["median"] == 3.0


def test_an_image_of_several_labels_counts_in_full_for_sizes_and_in_parts_for_shares():
    facts = describe(
        several([[0], [0, 1]], [0] * 9 + [1])
    )  # label 0 has ten images, label 1 one, which is half of one image's labels
    assert (facts.classes, facts.images, facts.smallest, facts.largest, facts.singletons) == (
        2,
        10,
        1,
        10,
        1,
    )
    assert facts.small_share == pytest.approx(0.5 / 10)
    assert facts.multi_label_share == 0.1


def test_classes_that_no_image_has_are_not_counted_and_no_image_is_an_error():
    assert describe(classes([0, 1, 1]).take(np.array([1, 2]))).classes == 1
    with pytest.raises(ValueError, match="no image"):
        describe(classes([0]).take(np.array([], dtype=np.int64)))


# against a task
@given(pairs)
def test_mutual_information_is_that_of_scikit_learn_and_symmetric(of):
    a, b = columns(of)
    found = against(classes(a), b).nmi
    assert found == pytest.approx(normalized_mutual_info_score(b, a), abs=1e-9)
    assert against(classes(b), a).nmi == pytest.approx(found, abs=1e-9)


@given(pairs)
def test_nesting_is_that_of_the_label_room_both_ways_and_strict_nesting_that_of_a_loop(of):
    a, b = columns(of)
    facts = against(classes(a), b)
    indices = classes(b).indices
    assert facts.nesting == pytest.approx(nesting(classes(a).indices, indices))
    assert facts.reverse_nesting == pytest.approx(nesting(indices, classes(a).indices))
    tasks: dict[int, set[int]] = {}
    for label, task in of:
        tasks.setdefault(label, set()).add(task)
    strict = [len(met) == 1 for met in tasks.values()]
    assert facts.classes_nested == pytest.approx(np.mean(strict))
    assert (facts.images, facts.classes, facts.task_classes) == (
        len(of),
        len(set(a.tolist())),
        len(set(b.tolist())),
    )
    assert facts.images_per_class == np.median(list(Counter(a.tolist()).values()))


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=60),
    st.lists(st.integers(0, 3), min_size=10, max_size=10),
)
def test_what_coarsens_a_view_nests_it_wholly(fine, parent):
    coarse = np.array([parent[at] for at in fine])
    down, up = against(classes(fine), coarse), against(classes(coarse), np.array(fine))
    assert down.nesting == down.classes_nested == down.alignment == 1
    assert up.reverse_nesting == up.reverse_alignment == 1
    assert down.reverse_nesting == up.nesting


def test_images_without_a_task_class_are_left_out():
    codes, task = np.array([0, 0, 1, 1, 2]), np.array([5, 5, 5, 9, -1])
    facts = against(classes(codes), task)
    assert facts == against(classes(codes[:4]), task[:4])
    assert (facts.images, facts.classes, facts.task_classes, facts.nesting) == (4, 2, 2, 0.75)


def test_codes_of_another_length_and_no_image_in_common_are_errors():
    with pytest.raises(ValueError, match="2 images have labels and 3 have task codes"):
        against(classes([0, 1]), np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="no image has both"):
        against(classes([0, 1]), np.full(2, -1))


# chance
def test_chance_is_the_majority_for_one_class_and_certain_for_one_class_an_image():
    task = np.array([0] * 70 + [1] * 30)
    one, each = against(classes([0] * 100), task), against(classes(range(100)), task)
    assert one.nesting_by_chance == pytest.approx(0.7)
    assert (one.alignment, one.reverse_nesting, one.reverse_alignment) == (
        pytest.approx(0, abs=1e-12),
        1,
        1,
    )
    assert (each.nesting_by_chance, each.alignment, each.reverse_alignment) == (1, 1, 0)


def test_chance_for_pairs_has_its_closed_form():
    """A pair drawn from two equal halves of n images is of one kind with probability (n/2 - 1) / (n
    - 1), and half of a mixed pair is its majority.
    """
    n = 10_000
    same = (n / 2 - 1) / (n - 1)
    facts = against(classes(np.arange(n) // 2), np.arange(n) % 2)
    assert facts.nesting == 0.5
    assert facts.nesting_by_chance == pytest.approx(
        same + (1 - same) / 2, abs=0.003
    )  # 20 draws of 5,000 pairs: one sd is 0.0008
    assert facts.alignment == 0


def test_random_classes_are_at_chance_and_chance_is_the_same_each_time():
    rng = np.random.default_rng(0)
    codes, task = rng.integers(0, 40, 5000), rng.integers(0, 4, 5000) ** 2
    facts = against(classes(codes), task)
    assert facts.alignment < 0.02 and facts.reverse_alignment < 0.02
    assert facts.nmi == pytest.approx(facts.nmi_by_chance, abs=0.004)
    assert facts == against(classes(codes), task)


# several labels
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=6), st.data()
)
def test_several_labels_are_counted_in_parts_as_in_a_dense_table(sets, data):
    rows = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(sets) - 1), st.integers(0, 2)), min_size=1, max_size=40
        )
    )
    codes, task = columns(rows)
    facts = against(several(sets, codes.tolist()), task)
    table = np.zeros((5, 3))
    by_set: dict[int, Counter[frozenset[int]]] = {}
    for code, kind in rows:
        own = frozenset(sets[code])
        by_set.setdefault(kind, Counter())[own] += 1
        for label in own:
            table[label, kind] += 1 / len(own)
    assert table.sum() == pytest.approx(len(rows))
    assert facts.nesting == pytest.approx(table.max(axis=1).sum() / len(rows))
    assert facts.reverse_nesting == pytest.approx(
        sum(counts.most_common(1)[0][1] for counts in by_set.values()) / len(rows)
    )
    there = table[table.sum(axis=1) > 0]
    assert facts.classes_nested == pytest.approx(np.mean((there > 0).sum(axis=1) == 1))
    share = table / table.sum()
    outer = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    entropies = -sum(
        float((p[p > 0] * np.log(p[p > 0])).sum()) for p in (share.sum(axis=0), share.sum(axis=1))
    )
    expected = (
        2
        * float((share[share > 0] * np.log(share[share > 0] / outer[share > 0])).sum())
        / entropies
        if entropies > 1e-9
        else 1.0
    )
    assert facts.nmi == pytest.approx(max(0.0, expected), abs=1e-9)


def test_a_level_of_a_dag_coarsens_the_classes_though_its_labels_are_shared():
    """Four classes under two labels each: every class has one set, so the task determines the view;
    a label has images of several classes.
    """
    level = several([[0, 1], [1, 2], [0, 1], [2]], [0, 1, 2, 3] * 25)
    facts = against(level, np.array([0, 1, 2, 3] * 25))
    assert facts.reverse_nesting == facts.reverse_alignment == 1
    assert facts.nesting < 1
    assert expected_direction(facts).direction == "too coarse"


def test_large_tables_are_sorted_to_the_same_facts(monkeypatch):
    rng = np.random.default_rng(1)
    codes, task = rng.integers(0, 300, 2000), rng.integers(0, 30, 2000)
    small = against(classes(codes), task)
    monkeypatch.setattr(room, "_DENSE_CELLS", 0)
    assert against(classes(codes), task) == small


# what to expect
N = 2000
FINE = np.arange(N) % 40
RANDOM = np.random.default_rng(2).integers(0, 20, N)
SLIPS = np.where(np.random.default_rng(3).random(N) < 0.3, RANDOM % 4, FINE % 4)
CASES = {
    "one class": (np.zeros(N), FINE % 4, "too coarse"),
    "two classes for four": (FINE % 2, FINE % 4, "too coarse"),
    "the task itself": (FINE % 4, FINE % 4, "matches"),
    "the task itself with slips": (SLIPS, FINE % 4, "matches"),
    "ten classes in each": (FINE, FINE % 4, "finer"),
    "ten classes in each of a task with slips": (FINE, SLIPS, "finer"),
    "five images a class": (np.arange(N) % 400, FINE % 4, "too fine"),
    "one image a class": (np.arange(N), FINE % 4, "too fine"),
    "a tail of small classes": (
        np.where(np.arange(N) < 1800, FINE, np.arange(N)),
        FINE % 4,
        "finer",
    ),
    "classes at random": (RANDOM, FINE % 4, "not aligned"),
    "small classes at random": (
        np.random.default_rng(4).permutation(np.arange(N) // 5),
        FINE % 4,
        "not aligned",
    ),
    "a rare class that any label nests": (RANDOM, np.arange(N) < 20, "not aligned"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_expected_of_a_view(case):
    codes, task, direction = CASES[case]
    found = expected_direction(against(classes(codes), task.astype(np.int64)))
    assert found.direction == direction, found
    assert found.reason and "\n" not in found.reason


@given(pairs)
def test_every_view_has_an_expectation_and_the_task_itself_matches(of):
    a, b = columns(of)
    assert expected_direction(against(classes(a), b)).reason
    assert expected_direction(against(classes(b), b)).direction == "matches"


def test_the_reason_gives_the_numbers():
    reason = expected_direction(against(classes(FINE), FINE % 4)).reason
    assert (
        "40 classes within the task's 4" in reason
        and "50 images each" in reason
        and "hard images" in reason
        and "clusters may do as well" in reason
    )
    assert "only in part" in expected_direction(against(classes(FINE), SLIPS)).reason
    assert isinstance(against(classes(FINE), SLIPS), AlignmentFacts)


@needs_data
def test_the_manual_levels_of_grocery_are_expected_to_help_the_levels_above_them():
    assert DATA
    source = FolderSource("grocery", Path(DATA) / "grocery")
    every = np.arange(len(source.table))
    fine, middle, coarse = (
        label_view(f"level:{level}", source.table, every, 0, "grocery") for level in range(3)
    )
    assert expected_direction(against(fine, coarse.indices)).direction == "finer"
    assert expected_direction(against(fine, middle.indices)).direction == "finer"
    assert expected_direction(against(middle, fine.indices)).direction == "too coarse"
    assert (
        expected_direction(
            against(label_view("random:81", source.table, every, 0, "grocery"), coarse.indices)
        ).direction
        == "not aligned"
    )
