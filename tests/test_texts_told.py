"""Captions and prompts that a model does not read as they are written: told by plan and labels
describe, counted on rows, warned of in reports, refused where nothing can be learned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from headwater.errors import InputError
from headwater.facts.labels import folder_facts, study_facts
from headwater.facts.study import plan_facts
from headwater.plan import Plan
from headwater.report.provenance import warnings
from headwater.rows import to_frame
from headwater.study import Study
from headwater.work.fields import cell_fields
from tests.analysis.synthetic import one_row
from tests.conftest import Cli, refused, write_study

LONG = "one of the many photographs that we made for the catalogue of our shop in spring " * 6


def folder(root: Path, captions: Sequence[object], classes: Sequence[str] = ("cat", "dog")) -> Path:
    """Training images with a caption each, of the classes in turn, and a test image of each class
    without one.
    """
    images = {
        f"train/{classes[at % len(classes)]}/{at}.png": own for at, own in enumerate(captions)
    }
    for at, path in enumerate((*images, *(f"test/{name}/t.png" for name in classes))):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (at, 0, 0)).save(root / path)
    lines = [json.dumps({"path": path, "captions": own}) for path, own in images.items()]
    (root / "captions.jsonl").write_text("\n".join(lines))
    return root


def words_of(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "study": "texts",
        "data": {"photos": {"kind": "folder", "path": str(root)}},
        "sources": ["photos"],
        "methods": ["clip"],
        "captions": "captions",
        "seeds": 2,
        "budget": {"steps": 2},
        "backbone": "tiny",
        "image_size": 32,
        "tasks": {"pets": {"data": "photos"}},
        "protocols": {"zeroshot": {"templates": ["{}"]}},
        **changes,
    }


def plan_of(root: Path, **changes: Any) -> Plan:
    return Plan.make(Study.model_validate(words_of(root, **changes)), data_root=None, cache=None)


def captions(beginning: str = "", number: int = 12) -> list[str]:
    return [f"{beginning}a cat or a dog, number {at}" for at in range(number)]


def test_cut_and_equal_captions_are_told_once_and_counted_on_rows(tmp_path: Path) -> None:
    plan = plan_of(folder(tmp_path, [*captions(LONG, 9), *captions(number=3)]))
    told = [note for note in plan.notes if note.startswith("source photos: ")]
    assert len(told) == 2
    assert told[0].startswith("source photos: captions: 9 of 12 texts are longer than 77 tokens")
    assert "the model tells 4 of 12 texts apart" in told[1]
    for cell in plan.cells:
        fields = cell_fields(plan, cell)
        assert (fields["num_labels"], fields["texts"], fields["cut_texts"]) == (4, 12, 9)
    assert {arm["classes"] for arm in plan_facts(plan, None)["arms"]} == {4}


def test_captions_that_are_read_whole_are_not_spoken_of(tmp_path: Path) -> None:
    plan = plan_of(folder(tmp_path, captions()))
    assert not [note for note in plan.notes if note.startswith("source photos: ")]
    fields = cell_fields(plan, plan.cells[0])
    assert (fields["num_labels"], fields["texts"], fields["cut_texts"]) == (12, 12, 0)


def test_rows_of_labels_have_no_counts_of_texts(tmp_path: Path) -> None:
    plan = plan_of(folder(tmp_path, captions()), methods=["supervised"], protocols={"probe": {}})
    fields = cell_fields(plan, plan.cells[0])
    assert (fields["num_labels"], fields["texts"], fields["cut_texts"]) == (2, None, None)


def test_a_context_of_77_is_the_arm_without_one_and_another_one_is_not(tmp_path: Path) -> None:
    root = folder(tmp_path, captions())
    arms = {
        context: plan_of(root, recipe={"clip": {"context": context}}).arms[0].id
        for context in (77, 200)
    }
    assert arms[77] == plan_of(root).arms[0].id != arms[200]


def test_a_longer_context_reads_what_77_tokens_cut(tmp_path: Path) -> None:
    root = folder(tmp_path, captions(LONG))
    plan = plan_of(root, recipe={"clip": {"context": 200}})
    assert plan.arms[0].num_labels == 12
    assert not [note for note in plan.notes if note.startswith("source photos: ")]


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (
            captions(LONG),
            r"12 of 12 texts are longer than 77 tokens .*context: \.\.\.}}\), or write",
        ),
        (["a cup", "A Cup", " a  cup"] * 4, r"case, spaces and the like are not read"),
        (["a cup"] * 12, r"12 images the same text as the model reads it: so nothing"),
        ([["a cup", "a plate"], ["A plate", "a cup"]] * 6, r"the same 2 texts"),
        (["日本語の説明 " * 30 + str(at) for at in range(12)], r"12 of 12 texts are longer"),
        ([f"a cup <end_of_text> {at}" for at in range(12)], r"cut there"),
    ],
)
def test_captions_that_are_one_to_the_model_are_refused_with_what_to_do(
    tmp_path: Path, own: list[Any], why: str
) -> None:
    with pytest.raises(InputError, match=rf"sources\.photos: captions gives all .*{why}"):
        plan_of(folder(tmp_path, own))


def test_the_refusal_is_one_line_with_the_line_of_the_study(tmp_path: Path, headwater: Cli) -> None:
    root = folder(tmp_path / "photos", captions(LONG))
    study = write_study(tmp_path / "study.yaml", words_of(root))
    refused(
        headwater("plan", str(study)),
        "sources.photos: captions gives all 12 images the same text",
        "study.yaml, line ",
    )


def test_templates_of_a_source_of_one_class_are_refused(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", captions(), classes=["cat"])
    task = folder(tmp_path / "task", captions())
    data = {name: {"kind": "folder", "path": str(tmp_path / name)} for name in ("one", "task")}
    with pytest.raises(InputError, match=r"template gives all 12 images the same 8 texts"):
        plan_of(
            one, data=data, sources=["one"], tasks={"pets": {"data": "task"}}, captions="template"
        )
    assert task.is_dir()


NESTED = ("bird/crane", "machine/crane", "bird/owl")


def test_plan_tells_which_prompts_were_told_apart_and_which_are_equal(tmp_path: Path) -> None:
    own = captions("a crane bird, machine, owl or sea lion: ", 36)
    nested = plan_of(folder(tmp_path / "a", own, NESTED))
    assert any(
        "task pets: classes of one name are told apart in prompts by their parents' names: "
        "'bird/crane' is 'crane (bird)'" in note
        for note in nested.notes
    )
    flat = plan_of(folder(tmp_path / "b", own, ("sea_lion", "sea lion", "owl")))
    assert any(
        "task pets: 2 classes have the prompts of another one, so prompts cannot tell them apart: "
        "'sea lion' and 'sea_lion'" in note
        for note in flat.notes
    )
    plain = plan_of(folder(tmp_path / "c", own, ("sea_lion", "owl")))
    assert not [note for note in plain.notes if "prompts" in note]


def test_prompts_are_not_spoken_of_where_nothing_asks_by_them(tmp_path: Path) -> None:
    root = folder(tmp_path, captions(number=36), ("sea_lion", "sea lion", "owl"))
    notes = plan_of(root, protocols={"probe": {}}).notes
    assert not [note for note in notes if "prompts" in note]


@pytest.mark.parametrize(
    ("classes", "templates"),
    [
        (("sea_lion", "sea lion"), ["a photo of a {}.", "{}"]),
        (("owl", "cup"), ["word " * 80 + "{}"]),
    ],
)
def test_a_task_whose_prompts_are_all_equal_is_refused(
    tmp_path: Path, classes: tuple[str, ...], templates: list[str]
) -> None:
    root = folder(tmp_path, captions(), classes)
    with pytest.raises(InputError, match="task 'pets': all 2 classes have the same prompts"):
        plan_of(root, protocols={"zeroshot": {"templates": templates}})


def test_plan_tells_prompts_that_are_cut_at_the_longest_caption_or_of_words_never_heard(
    tmp_path: Path,
) -> None:
    own = [f"a {'cat' if at % 2 else 'dog'} {at % 10}" for at in range(12)]
    root = folder(tmp_path, own)
    long = plan_of(root, protocols={"zeroshot": {"templates": ["a very good photo of a {}"]}})
    told = [note for note in long.notes if "as it reads them" in note]
    assert len(told) == 1
    assert "2 of 2 classes of task pets" in told[0] and "longest caption has 5 tokens" in told[0]
    short = plan_of(root, protocols={"zeroshot": {"templates": ["a {}"]}})
    assert not [note for note in short.notes if "as it reads them" in note]
    unheard = plan_of(
        folder(tmp_path / "b", own * 3, ("yak", "zebra", "dog")),
        protocols={"zeroshot": {"templates": ["a {}"]}},
    )
    (note,) = [note for note in unheard.notes if "as it reads them" in note]
    assert "2 of 3 classes" in note and "'yak' and 'zebra'" in note


def test_labels_describe_tells_what_is_read_of_each_text_field(tmp_path: Path) -> None:
    root = folder(tmp_path, [*captions(LONG, 9), *captions(number=3)])
    (entry,) = folder_facts(root)["sources"]
    (texts,) = entry["texts"]
    assert (texts["field"], texts["images"], texts["texts"]) == ("captions", 12, 12)
    assert (texts["cut"], texts["told_apart"], texts["context"]) == (9, 4, 77)
    study = Study.model_validate(words_of(root, recipe={"clip": {"context": 200}}))
    (entry,) = study_facts(Plan.opened(study))["sources"]
    (texts,) = entry["texts"]
    assert (texts["cut"], texts["told_apart"], texts["context"]) == (0, 12, 200)


def test_labels_describe_speaks_of_a_folder_of_captions_that_teach_nothing(
    tmp_path: Path, headwater: Cli
) -> None:
    for at in range(3):
        (tmp_path / f"{at}.png").write_text(str(at))
    lines = [
        json.dumps({"path": f"{at}.png", "captions": ["a Cup", "a cup"][at % 2]}) for at in (0, 1)
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    _, out, _ = headwater("labels", "describe", str(tmp_path))
    assert "the model tells 1 of 2 texts apart: 'a Cup' and 'a cup' are one to it" in out
    assert "nothing can be learned from them; 1 of 3 images have none" in out


def test_labels_describe_tells_equal_prompts(tmp_path: Path) -> None:
    (entry,) = folder_facts(folder(tmp_path / "a", captions(), NESTED))["sources"]
    assert any("'machine/crane' is 'crane (machine)'" in note for note in entry["notes"])
    (entry,) = folder_facts(folder(tmp_path / "b", captions(), ("a-b", "a_b")))["sources"]
    assert any("all 2 classes have the same prompts" in note for note in entry["notes"])


def clip_rows(**words: Any) -> pd.DataFrame:
    clip = {"method": "clip", "labels": "captions", "label_kind": None, "label_level": None}
    made = [one_row(cell=str(seed), seed=seed, **{**clip, **words}) for seed in range(2)]
    return to_frame(made)


def test_reports_warn_of_cut_and_equal_captions_and_of_equal_prompts() -> None:
    chosen = json.dumps({"alignment": "aligned", "equal_prompts": 3})
    rows = clip_rows(num_labels=8, texts=12, cut_texts=5, chosen=chosen)
    told = " ".join(warnings(rows))
    assert "5 of 12 at most" in told
    assert "tells 8 of 12 captions apart at least" in told
    assert "Up to 3 classes on" in told and "zero-shot cannot tell them apart" in told


def test_reports_do_not_warn_of_texts_that_are_read_whole() -> None:
    for words in (
        {"num_labels": 12, "texts": 12, "cut_texts": 0, "chosen": '{"alignment":"aligned"}'},
        {"num_labels": 12, "chosen": None},
        {"num_labels": 12, "chosen": '{"equal_prompts": "many"}'},
    ):
        assert not [
            text for text in warnings(clip_rows(**words)) if "aption" in text or "prompt" in text
        ]


def test_rows_of_before_and_after_the_count_of_texts_are_of_one_view() -> None:
    """Before, `num_labels` counted captions as they are written."""
    before = clip_rows(num_labels=12)
    after = clip_rows(num_labels=8, texts=12, cut_texts=0).assign(cell=["c", "d"], draw=[7, 7])
    told = warnings(pd.concat([before, after], ignore_index=True))
    assert not [text for text in told if "different label views" in text]
    other = clip_rows(num_labels=9, texts=11, cut_texts=0).assign(cell=["c", "d"], draw=[7, 7])
    told = warnings(pd.concat([before, other], ignore_index=True))
    assert [text for text in told if "different label views" in text]
