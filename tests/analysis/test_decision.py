"""Decisions on tables whose answer is known, and on awkward ones: what enters, what is said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.analysis import Aim, Decision, decide, evidence_of, verdict
from headwater.analysis.decision import ALONE, AS_GOOD, NOTHING, ONE_SEED, OPEN, SURE
from headwater.errors import InputError
from headwater.rows import to_frame
from tests.analysis.synthetic import arm_fields, one_row, synthetic_rows

NOISE = np.random.default_rng(5).normal(0, 0.004, (50, 50))


def rows_of(
    means: Mapping[str, float | Iterable[float]], *, seeds: int = 4, **fields: Any
) -> list[dict[str, Any]]:
    """One row for each label view and seed: its mean and a little noise, or the given numbers."""
    rows = []
    for place, (labels, mean) in enumerate(means.items()):
        values = [mean + NOISE[place, s] for s in range(seeds)] if isinstance(mean, float) else mean
        for seed, value in enumerate(values):  # type: ignore[arg-type]
            name = f"{labels}-{seed}-{fields.get('task')}-{fields.get('shots')}"
            name += f"-{fields.get('protocol')}-{fields.get('draw')}"
            rows.append(
                one_row(
                    **{"cell": name, "arm": f"{labels}-{seed}", "seed": seed, "labels": labels}
                    | {"value": value}
                    | fields
                )
            )
    return rows


def name(labels: str) -> str:
    return f"supervised {labels} · photos"


def test_a_clear_leader_is_the_best_and_leaves_nothing_to_do() -> None:
    decision = decide(to_frame(rows_of({"level:0": 0.6, "level:1": 0.5, "level:2": 0.4})))
    assert (decision.best, decision.confidence) == (name("level:0"), SURE)
    assert decision.shortlist == (name("level:0"),) and decision.next == ()
    assert decision.p_best[name("level:0")] > 0.99 and decision.regret_bound == 0
    assert list(decision.means) == [name("level:0"), name("level:1"), name("level:2")]


def test_arms_that_are_clearly_worse_leave_the_shortlist_of_an_open_decision() -> None:
    means = {"level:0": 0.6, "level:1": 0.601, "level:2": 0.4}
    decision = decide(to_frame(rows_of(means)), Aim(tolerance=0.0))
    assert decision.confidence == OPEN
    assert set(decision.shortlist) == {name("level:0"), name("level:1")}
    assert sum(decision.p_best.values()) == pytest.approx(1)


def test_arms_that_differ_by_less_than_the_tolerance_are_as_good_and_the_cheapest_is_named() -> (
    None
):
    rows = rows_of(
        {"level:0": [0.6002, 0.6102, 0.6203], "level:1": [0.6, 0.61, 0.62]}, seconds=None
    )
    rows = [
        row | {"pretrain_seconds": 100.0 if row["labels"] == "level:0" else 50.0} for row in rows
    ]
    decision = decide(to_frame(rows))
    assert decision.confidence in (SURE, AS_GOOD) and decision.as_good == (name("level:1"),)
    loose = decide(to_frame(rows), Aim(tolerance=0.0))
    assert loose.as_good == ()


def test_leak_free_scores_stand_before_the_others() -> None:
    """level:1 has seen test images, and is worse without them."""
    rows = rows_of({"level:0": 0.6, "level:1": 0.7})
    rows += [
        row | {"subset": "unleaked", "value": 0.5 + 0.01 * row["seed"], "n_test": 900}
        for row in rows
        if row["labels"] == "level:1"
    ]
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0") and evidence_of(to_frame(rows)).leak_free
    assert any("seen are left out" in s for s in verdict(to_frame(rows)).sentences)


def test_arms_at_the_share_of_the_most_frequent_class_say_nothing() -> None:
    rows = rows_of({"level:0": [0.3, 0.3, 0.3], "level:1": [0.29, 0.28, 0.3]}, task_majority=0.3)
    decision = decide(to_frame(rows))
    assert (decision.best, decision.confidence) == (None, NOTHING)
    assert "most frequent class" in verdict(to_frame(rows)).sentences[0]


def test_missing_draws_favour_nobody() -> None:
    """level:1 lacks the hard draws. Where both have a draw, it is 10 points worse."""
    rows = []
    for draw, ease in enumerate([0.0, 0.3, 0.3]):
        means = {"level:0": 0.4 + ease, "level:1": 0.3 + ease, "level:2": 0.1 + ease}
        if draw == 0:
            del means["level:1"]
        rows += rows_of(means, shots=5, draw=draw)
    raw = pd.DataFrame(rows).groupby("labels")["value"].mean()
    assert raw["level:1"] == pytest.approx(0.6, abs=0.01) and raw["level:0"] < 0.61
    decision = decide(to_frame(rows))
    gap = decision.means[name("level:0")] - decision.means[name("level:1")]
    assert decision.best == name("level:0") and gap == pytest.approx(0.1, abs=0.005)


def test_missing_seeds_favour_nobody() -> None:
    """level:1 lacks the hard seed; paired by seed it is 10 points worse."""
    ease = np.array([-0.3, 0.0, 0.01, 0.02, 0.0])
    rows = rows_of({"level:0": 0.6 + ease, "level:1": 0.5 + ease, "level:2": 0.4 + ease})
    rows = [row for row in rows if not (row["labels"] == "level:1" and row["seed"] == 0)]
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0")
    gap = decision.means[name("level:0")] - decision.means[name("level:1")]
    assert gap == pytest.approx(0.1, abs=1e-9)


def test_a_task_that_an_arm_lacks_is_named() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5, "level:2": 0.4}, task="birds")
    rows += rows_of({"level:0": 0.3, "level:1": 0.4}, task="cars")
    decision = decide(to_frame(rows))
    assert decision.left_out == {name("level:2"): "not measured on cars"}
    assert decision.tasks == ("birds", "cars")


def test_a_task_that_only_one_arm_has_is_set_aside_and_named() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5, "level:2": 0.4}, task="birds")
    rows += rows_of({"level:1": 0.9}, task="cars")
    decision = decide(to_frame(rows))
    assert (decision.best, decision.tasks) == (name("level:0"), ("birds",))
    assert "were not measured there" in decision.left_out["cars"]


def test_runs_that_diverge_are_a_result() -> None:
    """The survivors of level:1 are ahead; with those that diverged it is behind."""
    rows = rows_of({"level:0": 0.6, "level:1": 0.7}, seeds=5, task_majority=0.05)
    lost = {"status": "diverged", "value": None, "reason": "loss is not finite at step 3"}
    rows = [row | (lost if row["labels"] == "level:1" and row["seed"] < 2 else {}) for row in rows]
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0")
    assert decision.means[name("level:1")] == pytest.approx(0.6 * 0.7 + 0.4 * 0.05, abs=0.01)
    assert any("diverged in 2 of 5 seeds" in note for note in decision.notes)


def test_each_task_is_compared_by_its_own_metric() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5}, task="birds")
    rows += rows_of({"level:0": 0.4, "level:1": 0.3}, task="pets", metric="mean_per_class")
    decision = decide(to_frame(rows))
    assert decision.tasks == ("birds", "pets") and decision.confidence == SURE


def test_a_seed_copied_under_another_number_counts_once() -> None:
    rows = []
    for shots in (1, 5, 20, 50):
        rows += rows_of({"level:0": 0.61, "level:1": 0.6}, seeds=2, shots=shots, draw=0)
    copied = [
        row | {"seed": row["seed"] + 2, "cell": f"{row['cell']}'", "arm": f"{row['arm']}'"}
        for row in rows
    ]
    decision = decide(to_frame(rows + copied), Aim(protocol="finetune"))
    once = decide(to_frame(rows), Aim(protocol="finetune"))
    assert decision.num_seeds == once.num_seeds == 2 and decision.p == pytest.approx(once.p)
    assert sum("repeats every number" in note for note in decision.notes) == 4


def test_twenty_test_images_do_not_make_two_seeds_sure() -> None:
    rows = rows_of({"level:0": [0.55, 0.6], "level:1": [0.5, 0.55]}, n_test=20)
    decision = decide(to_frame(rows))
    assert decision.confidence == OPEN and decision.regret_bound is not None
    assert decision.regret_bound > 0


def test_held_equal_is_said_of_what_is_equal() -> None:
    rows = rows_of({"level:0": 0.6}, source="photos", images_seen=5_000)
    other = rows_of({"level:0": 0.5}, source="sketches", images_seen=50_000)
    rows += [row | {"cell": f"s{row['cell']}", "arm": f"s{row['arm']}"} for row in other]
    (sentence,) = [s for s in verdict(to_frame(rows)).sentences if s.startswith("Which source")]
    assert "held equal, but images seen differ" in sentence
    fewer = [row | {"images_seen": 5_000} for row in rows]
    fewer = [
        row | {"unique_images": 800 if row["source"] == "sketches" else 2_000} for row in fewer
    ]
    (sentence,) = [s for s in verdict(to_frame(fewer)).sentences if s.startswith("Which source")]
    assert "held equal, but numbers of images differ" in sentence


def test_frozen_probes_on_their_own_labels_set_the_task_aside() -> None:
    rows = synthetic_rows(protocols=("probe",), failures=False)
    decision = decide(rows)
    assert "birds" in decision.left_out and "birds" not in decision.tasks


def test_the_headline_is_what_is_nearest_to_use_and_every_line_is_there() -> None:
    decision = decide(synthetic_rows(noise=0.003, failures=False, tasks=("birds", "scenes")))
    assert (decision.protocol, decision.shots) == ("finetune", (-1,))
    lines = [(line.protocol, line.shots) for line in decision.lines]
    assert lines == [(p, (s,)) for p in ("finetune", "probe") for s in (-1, 5, 1)]


def test_what_is_asked_is_decided_by() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5}, task="birds", shots=5, draw=0)
    rows += rows_of({"level:0": 0.5, "level:1": 0.7}, task="cars", shots=5, draw=0)
    rows += rows_of({"level:0": 0.9, "level:1": 0.5}, task="birds")
    table = to_frame(rows)
    assert decide(table).best == name("level:0")
    five = decide(table, Aim(shots=(5,)))
    assert (five.best, five.shots) == (name("level:1"), (5,))
    weighed = decide(table, Aim(shots=(5,), weights={"birds": 9.0}))
    assert weighed.best == name("level:0")


@pytest.mark.parametrize(
    ("aim", "said"),
    [
        (Aim(protocol="knn"), "the rows have no protocol 'knn'; they have finetune"),
        (Aim(weights={"dogs": 2.0}), "the rows have no task 'dogs'; they have birds"),
        (Aim(shots=(3,)), "no cell with 3 images per class; they have all images"),
    ],
)
def test_what_the_rows_do_not_have_cannot_be_asked(aim: Aim, said: str) -> None:
    with pytest.raises(InputError, match=said):
        decide(to_frame(rows_of({"level:0": 0.6, "level:1": 0.5})), aim)


def test_being_wrong_cannot_cost_more_than_a_perfect_score_would_bring() -> None:
    """Arms of two seeds far apart say next to nothing of their means."""
    means = {"level:0": [0.91, 0.50], "level:1": [0.2, 0.6]}
    decision = decide(to_frame(rows_of(means)), Aim(error=0.0078))
    assert decision.regret_bound is not None and 1 - 0.705 < decision.regret_bound <= 1


def test_two_seeds_that_were_all_right_are_no_proof_that_nothing_can_be_better() -> None:
    """On six test images; the bound was 0 beside an expected regret of ten points."""
    means = {f"level:{level}": [1.0, 1.0] for level in range(4)}
    decision = decide(to_frame(rows_of(means, n_test=6)))
    assert decision.regret_bound is not None and decision.best is not None
    assert decision.regret_bound > decision.expected_regret[decision.best] > 0
    assert decision.confidence == OPEN


def test_lines_that_are_sure_of_another_arm_are_a_finding() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5})
    rows += rows_of({"level:0": 0.3, "level:1": 0.5}, shots=5, draw=0)
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0")
    assert any("5 images per class it is supervised level:1" in note for note in decision.notes)


def null_tables(number: int, settings: int) -> Iterable[pd.DataFrame]:
    rng = np.random.default_rng(11)
    for _ in range(number):
        rows = []
        for task in range(settings):
            values = rng.normal(0.5, 0.01, (2, 3))
            rows += rows_of(
                {"level:0": values[0], "level:1": values[1]},
                task=f"t{task}",
                shots=task + 1,
                draw=0,
            )
        yield to_frame(rows)


@pytest.mark.slow
def test_twenty_settings_of_equal_arms_share_the_error() -> None:
    """Each at 5 % by itself, 64 % of such reports would be sure of something."""
    wrong = 0
    for table in null_tables(40, 20):
        decision = decide(table)
        wrong += decision.sure or any(line.sure for line in decision.lines)
    assert wrong <= 6  # of 40 at 5 %, more in 1 % of runs


def test_one_seed_and_one_arm_are_said() -> None:
    one_seed = decide(to_frame(rows_of({"level:0": 0.6, "level:1": 0.5}, seeds=1)))
    assert one_seed.confidence == ONE_SEED and one_seed.next[0].kind == "seeds"
    assert set(one_seed.shortlist) == {name("level:0"), name("level:1")}
    alone = decide(to_frame(rows_of({"level:0": 0.6})))
    assert (alone.confidence, alone.best) == (ALONE, name("level:0"))


def test_arms_that_share_no_seed_are_not_compared() -> None:
    """Seeds 3 to 5 are easier by 20 points: nobody can tell that from the arms."""
    rows = rows_of({"level:0": 0.6, "level:1": 0.5, "level:2": 0.4}, seeds=3)
    others = rows_of({"level:3": 0.8, "level:4": 0.7}, seeds=3)
    rows += [row | {"seed": row["seed"] + 3} for row in others]
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0")
    assert set(decision.left_out) == {name("level:3"), name("level:4")}
    assert "shares no seed" in decision.left_out[name("level:3")]
    alone = [row | {"seed": 3} for row in rows_of({"level:1": 0.5}, seeds=1)]
    apart = decide(to_frame([*rows_of({"level:0": 0.6}, seeds=1), *alone]))
    assert apart.confidence == ONE_SEED


def test_an_open_decision_asks_for_seeds_with_a_price_and_says_who_needs_none() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.597, "level:2": 0.4}, seeds=3)
    rows = [row | {"pretrain_seconds": 3597.0, "seconds": 3.0} for row in rows]
    decision = decide(to_frame(rows), Aim(tolerance=0.0))
    assert decision.confidence == OPEN
    more, drop, size = decision.next
    assert more.kind == "seeds" and set(more.arms) == {name("level:0"), name("level:1")}
    assert more.seeds is not None and more.hours is not None
    assert more.hours[0] == pytest.approx(2 * more.seeds[0])
    assert drop.kind == "drop" and drop.arms == (name("level:2"),)
    assert size.kind == "size" and size.value is None  # all arms have one size


def test_a_second_look_asks_for_no_third() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5995, "level:2": 0.4}, seeds=9)
    decision = decide(to_frame(rows), Aim(tolerance=0.0))
    assert decision.confidence == OPEN and decision.next[0].kind == "cheapest"


def test_a_decision_is_plain_values_in_json() -> None:
    decision = decide(synthetic_rows(tasks=("birds",), protocols=("finetune",)))
    words = json.loads(json.dumps(decision.to_dict(), allow_nan=False))
    wanted = "best sure shortlist regret_bound p_best expected_regret as_good next left_out"
    assert {*wanted.split(), "protocol", "shots", "tasks", "num_seeds"} <= set(words)
    assert 0 <= words["mean"] <= 1 and words["shots"] == ["full"]


def test_rows_in_another_order_give_the_same_decision() -> None:
    rows = synthetic_rows(seeds=2, tasks=("birds",), protocols=("finetune",))
    shuffled = rows.sample(frac=1, random_state=1)
    assert decide(rows).to_dict() == decide(shuffled).to_dict()


def test_scratch_has_no_price() -> None:
    rows = rows_of({"level:0": 0.6}, seeds=9)
    scratch = arm_fields("scratch", None, None, None)
    rows += [
        row
        | scratch
        | {"cell": f"s{row['cell']}", "arm": f"s{row['seed']}", "value": row["value"] - 1e-5}
        for row in rows
    ]
    decision = decide(to_frame(rows), Aim(tolerance=0.005))
    assert isinstance(decision, Decision) and decision.as_good == ("scratch",)


LOST = {"status": "diverged", "value": None, "reason": "loss is not finite at step 3"}


def test_an_arm_that_diverges_in_every_run_wins_nothing_and_is_no_copy() -> None:
    """Counted as the most frequent class (0.65) it would be ahead of both."""
    rows = []
    for task, majority in (("a", 0.3), ("b", 0.65)):
        means = {"level:0": 0.48, "level:1": 0.4, "level:2": 0.5}
        rows += rows_of(means, task=task, task_majority=majority)
    rows = [row | (LOST if row["labels"] == "level:2" else {}) for row in rows]
    decision = decide(to_frame(rows))
    assert decision.best == name("level:0")
    assert decision.left_out[name("level:2")] == "every run of it diverged"
    assert not any("repeats" in note for note in decision.notes)


def test_an_arm_of_one_seed_is_set_aside_and_does_not_hold_up_the_others() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5, "level:2": 0.4}, seeds=5)
    rows += rows_of({"level:3": 0.61}, seeds=1)
    decision = decide(to_frame(rows))
    assert decision.confidence == SURE
    assert decision.left_out[name("level:3")].startswith("one seed of it")


def test_an_open_leader_has_a_rival_and_may_lose_something() -> None:
    """A p between the level of a single look and what two arms need."""
    leads = np.array([0.03, 0.06, 0.0, 0.05, -0.01, 0.04, 0.03])
    rows = rows_of({"level:0": 0.5 + leads, "level:1": np.full(7, 0.5)})
    decision = decide(to_frame(rows), Aim(tolerance=0.0))
    assert decision.p is not None
    if decision.p <= decision.threshold:  # then take some of its lead away
        rows = rows_of({"level:0": 0.49 + leads, "level:1": np.full(7, 0.5)})
        decision = decide(to_frame(rows), Aim(tolerance=0.0))
    assert decision.p is not None and decision.threshold < decision.p < 0.2
    assert len(decision.shortlist) == 2 and decision.regret_bound is not None
    assert decision.regret_bound > 0 and not decision.decided


def test_the_cheapest_is_never_an_arm_that_is_clearly_worse() -> None:
    noise = 7 * NOISE
    means = {"level:0": 0.6 + noise[0, :3], "level:1": 0.5999 + noise[1, :3]}
    rows = rows_of({**means, "level:2": 0.55 + noise[2, :3]})
    rows = [
        row | {"pretrain_seconds": 1.0 if row["labels"] == "level:2" else 900.0} for row in rows
    ]
    decision = decide(to_frame(rows), Aim(tolerance=0.0))
    for step in decision.next:
        assert step.kind != "cheapest" or step.arms == (decision.best,)


def test_seeds_that_all_arms_repeat_are_copies() -> None:
    """One value each is enough where three arms agree."""
    rows = rows_of({"level:0": 0.6, "level:1": 0.59, "level:2": 0.55}, seeds=1)
    copies = [
        row | {"seed": seed, "cell": f"{row['cell']}-{seed}", "arm": f"{row['arm']}-{seed}"}
        for row in rows
        for seed in (1, 2)
    ]
    decision = decide(to_frame(rows + copies))
    assert decision.confidence == ONE_SEED and len(decision.notes) == 6


def test_numbers_without_spread_are_not_sure_where_nobody_says_how_many_images() -> None:
    rows = rows_of({"level:0": [0.6, 0.6], "level:1": [0.599, 0.599]}, n_test=None)
    assert decide(to_frame(rows), Aim(tolerance=0.0)).confidence == OPEN
    more = rows_of({"level:2": [0.5, 0.5]}, n_test=None)
    assert not decide(to_frame(rows + more), Aim(tolerance=0.0)).sure


def test_chance_of_a_mean_over_classes_is_one_class() -> None:
    rows = rows_of(
        {"level:0": 0.5, "level:1": 0.4},
        metric="mean_per_class",
        task_majority=0.6,
        task_classes=20,
    )
    assert decide(to_frame(rows)).best == name("level:0")


def test_a_metric_that_is_the_better_the_lower_names_no_best_arm() -> None:
    rows = rows_of({"level:0": 0.3, "level:1": 0.1}, metric="ece")
    with pytest.raises(InputError, match="ece is the better the lower"):
        decide(to_frame(rows), metric="ece")


def test_shots_that_a_protocol_lacks_are_decided_under_one_that_has_them() -> None:
    rows = rows_of({"level:0": 0.6, "level:1": 0.5}, shots=1, draw=0)
    for shots in (1, 5):
        rows += rows_of({"level:0": 0.5, "level:1": 0.6}, shots=shots, draw=0, protocol="probe")
    decision = decide(to_frame(rows), Aim(shots=(1, 5)))
    assert (decision.protocol, decision.shots) == ("probe", (1, 5))
