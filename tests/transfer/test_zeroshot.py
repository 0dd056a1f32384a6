"""Class names as a head: whether their order is right is told apart from knowing nothing, on counts
and through whole CLIP arms.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from headwater import work
from headwater.errors import InputError
from headwater.methods.text import load_text
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from headwater.transfer.finetune import Classifier
from headwater.transfer.protocols.zeroshot import prompt_templates
from headwater.transfer.zeroshot import alignment
from headwater.work.cells import Bench
from tests.conftest import tiny
from tests.toy import FP32
from tests.transfer import striped
from tests.transfer.striped import (
    NAMES,
    cells_of,
    measured,
    planned,
    scores,
    trained,
    write_source,
    write_task,
)

Labels = NDArray[np.int64]
CLIP: dict[str, Any] = {"methods": ["clip"], "budget": {"steps": 60}}


def guessed(
    n: int,
    num_classes: int,
    *,
    right: float,
    share: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> tuple[Labels, Labels]:
    """(predictions, labels): of these classes in these shares, a share of them right and the others
    guessed.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(num_classes, n, p=share)
    return np.where(rng.random(n) < right, labels, rng.integers(0, num_classes, n)), labels


def permuted(num_classes: int, *, seed: int = 0) -> Labels:
    """An order of the names in which none is where it belongs."""
    return (
        (np.arange(num_classes) + 1) % num_classes
        if seed == 0
        else np.roll(np.arange(num_classes), seed)
    )


# on counts
@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 6, 37, 102])
@pytest.mark.parametrize("right", [1.0, 0.4])
def test_names_in_order_are_aligned_and_in_another_order_are_not(
    num_classes: int, right: float
) -> None:
    predictions, labels = guessed(400 if num_classes < 37 else 1500, num_classes, right=right)
    found = alignment(predictions, labels, num_classes)
    assert found.verdict == "aligned"
    assert found.accuracy == pytest.approx(float((predictions == labels).mean()))
    assert found.assigned >= found.accuracy > found.permuted
    assert found.permuted == pytest.approx(1 / num_classes, abs=0.05)
    wrong = alignment(permuted(num_classes)[predictions], labels, num_classes)
    assert wrong.verdict == "out of order"
    assert wrong.assigned == pytest.approx(found.assigned)
    assert (
        wrong.accuracy < 1 / num_classes + 0.03
        if num_classes > 2 or right < 1
        else wrong.accuracy == 0
    )


def test_an_order_that_is_half_right_is_out_of_order() -> None:
    """10 of 20 names where they belong score far above chance, which hides the other 10."""
    predictions, labels = guessed(1000, 20, right=0.9)
    order = np.r_[np.arange(2), 2 + permuted(18)]
    assert alignment(order[predictions], labels, 20).verdict == "out of order"


@pytest.mark.parametrize("num_classes", [2, 4, 5, 10, 50])
def test_random_predictions_are_at_chance(num_classes: int) -> None:
    """At the 1 % level: of 100 draws about 1 is told from chance, in either way."""
    verdicts = [
        alignment(*guessed(200, num_classes, right=0.0, seed=seed), num_classes, seed=seed).verdict
        for seed in range(30)
    ]
    assert verdicts.count("at chance") >= 27


@pytest.mark.parametrize("constant", [0, 3])
def test_a_frequent_class_does_not_make_a_constant_answer_look_aligned(constant: int) -> None:
    """90 % of the images are of class 0: a constant answer has an accuracy of 90 % or of 2 %, and
    says nothing.
    """
    share = np.array([0.9, *[0.02] * 5])
    _, labels = guessed(500, 6, right=1.0, share=share)
    found = alignment(np.full(500, constant), labels, 6)
    assert found.verdict == "at chance"
    mostly = np.where(
        np.random.default_rng(1).random(500) < 0.8,
        constant,
        np.random.default_rng(2).integers(0, 6, 500),
    )
    assert alignment(mostly, labels, 6).verdict == "at chance"


def test_a_frequent_class_does_not_hide_names_that_are_in_order_or_are_not() -> None:
    share = np.array([0.8, *[0.04] * 5])
    predictions, labels = guessed(800, 6, right=0.6, share=share)
    assert alignment(predictions, labels, 6).verdict == "aligned"
    assert alignment(permuted(6)[predictions], labels, 6).verdict == "out of order"


def test_names_that_nothing_is_called_by_are_no_evidence_against_the_order() -> None:
    """Two of four names are never given: swapping them changes nothing, and the other two are
    right.
    """
    _, labels = guessed(400, 4, right=1.0)
    assert alignment(np.minimum(labels, 1), labels, 4).verdict == "aligned"


def test_a_verdict_is_the_same_every_time() -> None:
    some = guessed(100, 12, right=0.1)
    assert alignment(*some, 12) == alignment(*some, 12)


# through whole arms
@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with captions, a task, and the same task under names that are out of order; one CLIP
    arm that knows stripes, and another that knows little.
    """
    root = tmp_path_factory.mktemp("clip")
    write_source(root)
    write_task(root)
    write_task(root, folder="astray", names=[NAMES[1], NAMES[2], NAMES[3], NAMES[0]])
    return root


TWO_TASKS: dict[str, Any] = {
    **CLIP,
    "data": {**striped.STRIPED["data"], "astray": {"kind": "folder", "path": "astray"}},
    "tasks": {"task": {"data": "task"}, "astray": {"data": "astray"}},
}


@pytest.fixture(scope="module")
def arm(root: Path) -> tuple[Plan, Store]:
    plan, store = (
        planned(root, **TWO_TASKS, protocols={"zeroshot": {}}),
        Store(root / "store", create=True),
    )
    trained(plan, store)
    return plan, store


def test_names_in_order_score_and_names_astray_are_told(arm: tuple[Plan, Store]) -> None:
    rows = measured(*arm)
    found = {
        row["task"]: row
        for _, row in rows[(rows["metric"] == "top1") & (rows["subset"] == "all")].iterrows()
    }
    assert found["task"]["value"] > 0.7
    assert found["astray"]["value"] < 0.25
    said = {task: json.loads(row["chosen"]) for task, row in found.items()}
    assert {task: one["alignment"] for task, one in said.items()} == {
        "task": "aligned",
        "astray": "out of order",
    }
    assert said["astray"]["val_best_assignment"] == said["task"]["val_best_assignment"] > 0.7
    assert said["task"]["unseen_tokens"] == 0
    row = found["task"]
    assert (row["n_train"], row["n_val"], row["head_init"], row["shots"] is not None) == (
        0,
        32,
        "text",
        True,
    )
    assert len(json.loads(row["grid"])["templates"]) == 8


def test_the_prompts_of_a_study_are_those_of_the_cell_and_change_its_id(
    root: Path, arm: tuple[Plan, Store]
) -> None:
    plan, store = arm
    other = planned(
        root, **CLIP, protocols={"zeroshot": {"templates": ["a photo of {} stripes", "{}"]}}
    )
    assert cells_of(other, other.arms[0].id)[0].id != cells_of(plan, plan.arms[0].id)[0].id
    row = scores(measured(other, store)).iloc[0]
    assert json.loads(row["grid"]) == {"templates": ["a photo of {} stripes", "{}"]}
    assert row["value"] > 0.7


@pytest.mark.parametrize("template", ["stripes", "{} and {}", "{0}", "{name} {}", "{} {"])
def test_a_template_without_one_place_for_the_name_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="is no template"):
        Study.model_validate(tiny(protocols={"zeroshot": {"templates": [template]}}))


def test_cells_of_class_names_are_there_for_clip_arms_alone(root: Path) -> None:
    arms = ["scratch", "supervised", "simclr", "clip"]
    plan = planned(root, methods=arms, protocols={"zeroshot": {}, "probe": {}})
    assert {cell.arm.words.method for cell in plan.cells if cell.words.protocol == "zeroshot"} == {
        "clip"
    }
    assert {cell.arm.words.method for cell in plan.cells if cell.words.protocol == "probe"} == set(
        arms
    )
    with pytest.raises(ValueError, match="clip is not among the study's methods"):
        planned(root, methods=arms[:3], protocols={"zeroshot": {}})


def test_an_arm_that_kept_no_text_tower_fails_and_says_what_to_do(
    root: Path, arm: tuple[Plan, Store], tmp_path: Path
) -> None:
    """An arm that was trained before text towers were kept: its probe is measured, and what needs
    the tower is a row that failed.
    """
    store = Store(shutil.copytree(arm[1].root, tmp_path / "store"))
    shutil.rmtree(store.rows, ignore_errors=True)
    plan = planned(
        root,
        **CLIP,
        protocols={
            "zeroshot": {},
            "probe": {**striped.GRID},
            "finetune": {"head_init": "text", **striped.SHORT},
        },
    )
    folder = store.arm_folder(plan.arms[0].id)
    for name in ("text.safetensors", "text.json"):
        (folder / name).unlink()
    told: list[str] = []
    cells = cells_of(plan, plan.arms[0].id)
    with pytest.raises(InputError, match=r"keeps no text tower .*--redo") as caught:
        work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells, told.append)
    assert {cell.words.protocol for cell in cells if cell.id in told} == {"probe"}
    zero_shot = next(cell for cell in cells if cell.words.protocol == "zeroshot")
    store.write_rows(
        zero_shot.id,
        work.failed_rows(work.Session(plan, store, FP32), zero_shot, str(caught.value)),
    )
    row = scores(plan.rows(store)).reset_index().set_index("protocol").loc["zeroshot"]
    assert row["status"] == "failed"
    assert "--redo" in row["reason"]


def test_a_damaged_text_tower_is_not_used(arm: tuple[Plan, Store], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(arm[1].arm_folder(arm[0].arms[0].id), tmp_path / "arm"))
    data = bytearray((folder / "text.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "text.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="the text tower is damaged"):
        load_text(folder)


def test_prompts_are_embedded_as_the_captions_were_in_training(arm: tuple[Plan, Store]) -> None:
    """The kept tower over a trimmed vocabulary gives, for a caption of training, an embedding of
    length 1; words that it never met count as unseen.
    """
    tower = load_text(arm[1].arm_folder(arm[0].arms[0].id))
    captions = [f"a photo of {name} stripes" for name in NAMES]
    embedded = tower.embed(captions)
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(1, abs=1e-5)
    assert (embedded @ embedded.T)[~np.eye(4, dtype=bool)].max() < 0.95
    assert tower.unseen(captions) == 0
    assert tower.unseen(["a photo of zebra stripes"]) == pytest.approx(1 / 5, abs=0.1)
    assert tower.embed([captions[0]])[0] == pytest.approx(embedded[0], abs=1e-6), (
        "whatever stands beside it"
    )
    weight = tower.class_weights(NAMES, ["a photo of {} stripes"])
    assert weight.shape == (4, tower._projection.shape[1])
    assert weight == pytest.approx(
        tower.logit_scale * embedded @ tower._projection.numpy(), abs=1e-4
    )


def test_a_head_from_class_names_starts_at_the_zero_shot_predictions(
    root: Path, arm: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its logits are those of zero-shot but for each image's length, which moves no image to
    another class.
    """
    plan = planned(
        root,
        **CLIP,
        protocols={
            "zeroshot": {},
            "finetune": {"head_init": "text", **striped.SHORT, "steps": 1, "lr": [1e-9]},
        },
    )
    starts: list[Classifier] = []
    plain = Classifier.__init__

    def watched(self: Classifier, encoder: Any, num_classes: int, head: Any) -> None:
        plain(self, encoder, num_classes, head)
        starts.append(self)
        self.first_head = head

    monkeypatch.setattr(Classifier, "__init__", watched)
    found = scores(measured(plan, arm[1])).reset_index().set_index("protocol")
    assert found.loc["finetune", "head_init"] == "text"
    ((weight, bias),) = [start.first_head for start in starts]
    bench = Bench(work.Session(plan, arm[1], FP32), plan.arms[0], "task")
    features = bench.features(bench.task.test)
    tower_weight = bench.text.class_weights(
        bench.task.prompt_names, prompt_templates(bench.asked, bench.task)
    )
    zero_shot = features @ tower_weight.T / bench.text.lengths(features)[:, None]
    start = features @ weight.T + bias
    assert np.array_equal(start.argmax(axis=1), zero_shot.argmax(axis=1))
    assert float(
        (start.argmax(axis=1) == bench.task.labels[bench.task.test]).mean()
    ) == pytest.approx(found.loc["zeroshot", "value"])
    scale = np.linalg.norm(start, axis=1) / np.linalg.norm(zero_shot, axis=1)
    assert np.median(scale) == pytest.approx(1, abs=0.15), "and they are as sure"
    assert math.isfinite(found.loc["finetune", "value"])


def test_a_head_init_of_text_is_refused_with_file_and_line_where_an_arm_has_no_text_tower() -> None:
    words = {
        **striped.STRIPED,
        "methods": ["clip", "simclr"],
        "protocols": {"finetune": {"head_init": "text"}},
    }
    text = yaml.safe_dump(words, sort_keys=False)
    line = text.splitlines().index("    head_init: text") + 1
    with pytest.raises(
        InputError,
        match=rf"^study.yaml, line {line}: protocols.finetune.head_init: .*text tower, which "
        r"simclr has not",
    ):
        Study.parse(text, "study.yaml")
    Study.parse(text.replace("- simclr\n", ""), "study.yaml")
