"""Studies whose data is not there are outlined from published numbers, and do not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from headwater.cli import app
from headwater.cost.gpus import GPUS
from headwater.cost.outlined import _Network, gpu_named, outlined_cost
from headwater.errors import InputError
from headwater.facts.outline import outline_facts
from headwater.methods.clip import Clip, ClipRecipe
from headwater.models import counted_flops
from headwater.plan import Plan
from headwater.plan.outline import Outline, outline
from headwater.study import Study

ROOT = Path(__file__).parents[1]
FULL_SCALE = {
    "hong2023/imagenet21k": (21, 21),
    "hong2023/inat2021": (54, 54),
    # 3 seeds of 6 x 2, 3 of ImageNet and scratch; 9 tasks, 4 shots x 3 draws and full, 2 protocols
    "entezari2023/seven_sources": (48, 48 * 9 * 13 * 2),
    "entezari2023/size_series": (42, 42 * 6 * 10 * 2),
    "entezari2023/imagenet_captions": (15, 15 * 6 * 10 * 2),
}
STUDY: dict[str, Any] = {
    "study": "web",
    "data": {
        "web": {"kind": "shards", "path": "nowhere", "recipe": "cc12m"},
        "photos": {"kind": "folder", "path": "nowhere", "recipe": "imagenet1k"},
        "pets": {"kind": "published", "name": "pets", "path": "nowhere"},
    },
    "sources": {"web": {"methods": ["clip"]}, "photos": {"methods": ["supervised"]}},
    "methods": ["clip", "supervised"],
    "budget": {"epochs": 2},
    "seeds": 1,
    "tasks": {"pets": {"data": "pets"}},
}


def outlined(**changes: Any) -> Outline:
    found = outline(Study.model_validate(STUDY | changes), None)
    assert found is not None
    return found


def of_file(name: str) -> Outline:
    found = outline(Study.load(ROOT / "studies" / f"{name}.yaml"), None)
    assert found is not None
    return found


@pytest.mark.parametrize("name", FULL_SCALE)
def test_a_study_of_a_paper_is_outlined_without_its_data(name: str) -> None:
    found = of_file(name)
    assert (len(found.arms), found.num_cells) == FULL_SCALE[name]
    assert found.missing and not found.supports
    facts = outline_facts(found)
    assert facts["cost"]["gpu_hours"] > facts["cost"]["pretrain_gpu_hours"] > 1
    assert all(row["advice"] for row in facts["missing"])
    json.dumps(facts)


def test_levels_images_and_hours_are_those_of_the_paper_and_of_arithmetic() -> None:
    found = of_file("hong2023/imagenet21k")
    classes = [arm.classes for arm in found.arms if arm.words.seed == 0]
    assert classes == [21_843, 5_995, 2_281, 519, 160, 38, 1_000]
    first = found.arms[0]
    assert first.images_seen == 90 * 14_197_122
    assert first.steps == -(-90 * 14_197_122 // 4096)
    cost, _ = outlined_cost(found, GPUS["a100"], 0.5)
    # ViT-B/16: 17.56 GMACs forward; three passes; half of 312 TFLOP/s
    hours = first.images_seen * 3 * 2 * 17.563e9 / (0.5 * 312e12) / 3600
    assert cost.gpu_hours_of_arm[0] == pytest.approx(hours, rel=1e-3)
    assert cost.encoded_gb == pytest.approx(14_197_122 * 92_300e-9 + 1_281_167 * 115_400e-9)


def test_views_of_inaturalist_have_as_many_classes_as_its_ranks() -> None:
    found = of_file("hong2023/inat2021")
    classes = {arm.words.labels: arm.classes for arm in found.arms}
    assert classes["rank:supercategory"] == 11 and classes["instance"] == 500_000
    assert classes["clusters-within-genus"] == classes["rank:genus"] == 4_884
    assert {arm.features for arm in found.arms if "clusters" in str(arm.words.labels)} == {
        "vit_large_patch14_clip_224.openai"
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hong2023/inat2021", "entezari2023/seven_sources"])
def test_encoders_that_were_counted_before_are_counted_again_the_same(name: str) -> None:
    found = of_file(name)
    assert _Network.known(found) == _Network.counted(found)


@pytest.mark.slow
def test_the_vit_that_was_counted_before_is_counted_again_the_same() -> None:
    found = of_file("hong2023/imagenet21k")
    assert _Network.known(found) == _Network.counted(found)


@pytest.mark.slow
def test_another_encoder_is_counted_without_memory_for_its_weights() -> None:
    found = outlined(backbone="vit_small_patch16_224", image_size=224)
    assert _Network.known(found) is None
    cost, notes = outlined_cost(found, GPUS["h100"])
    assert cost.pretrain_flops > 1e15 and not any("convolution" in note for note in notes)
    with pytest.raises(InputError, match="no architecture"):
        outlined_cost(outlined(backbone="vit_smal"), GPUS["h100"])


def test_captions_cost_what_their_blocks_do() -> None:
    recipe = ClipRecipe(text_width=32, text_heads=4, text_layers=3, context=20)
    layer = nn.TransformerEncoderLayer(32, 4, 128, batch_first=True)
    blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    tokens = torch.zeros(1, 20, 32)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        forward = counted_flops(blocks, lambda: blocks(tokens))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert Clip.caption_flops(recipe) == pytest.approx(3 * forward)


def test_an_outline_of_data_that_is_there_agrees_with_its_plan(tmp_path: Path) -> None:
    world = {"kind": "world", "train": 96, "val": 16, "test": 32}
    study = Study.model_validate(
        {
            "study": "there",
            "data": {"w": world},
            "sources": ["w"],
            "methods": ["scratch", "supervised", "simclr"],
            "labels": ["level:0", "level:1", "instance", "random:5", "cluster:7"],
            "sizes": [92, "all"],
            "budget": {"epochs": 3},
            "seeds": 2,
            "tasks": {"t": {"data": "w"}},
            "protocols": {"probe": {"shots": [1, "full"], "draws": 3}},
        }
    )
    assert outline(study, None) is None
    found, plan = outline(study, None, asked=True), Plan.make(study)
    assert found is not None
    numbers = [(arm.words, arm.images, arm.classes, arm.steps) for arm in found.arms]
    assert numbers == [
        (arm.words, len(arm.positions), arm.num_labels, arm.steps) for arm in plan.arms
    ]
    assert found.num_cells == len(plan.cells)
    assert len(found.supports) == len(plan.supports) == 0
    task = found.tasks["t"]
    assert (len(task.train), len(task.val), len(task.test)) == (96, 16, 32)


def test_clusters_need_an_arm_for_their_features() -> None:
    sources = {"photos": {"methods": ["supervised"], "labels": ["cluster:50"]}}
    found = outlined(sources=sources, methods=["supervised"])
    assert [arm.words.method for arm in found.supports] == ["simclr"]
    assert outlined_cost(found, GPUS["h100"])[0].pretrain_images == 4 * 1_281_167


def test_dead_links_are_told_and_what_numbers_forbid_is_refused() -> None:
    assert any("12,423,374 images are asked for" in note for note in outlined().notes)
    for changes, message in (
        ({"sizes": [10**9]}, "size 1,000,000,000 is above the 12,423,374 images"),
        ({"sources": {"photos": {"methods": ["clip"]}}}, "has no captions; write"),
        ({"sources": {"web": {"methods": ["clip"], "captions": "template"}}}, "no classes to make"),
        ({"sources": {"web": {"methods": ["supervised"]}}}, "Conceptual 12M has no classes"),
        ({"sources": {"web": {"methods": ["clip"], "splits": ["val"]}}}, "no val split"),
        ({"tasks": {"pets": {"data": "pets", "labels": "depth:2"}}}, "how many classes"),
    ):
        with pytest.raises(InputError, match=message):
            outlined(**changes)


def test_what_nobody_knows_is_no_outline() -> None:
    data = STUDY["data"] | {"other": {"kind": "folder", "path": "nowhere"}}
    study = Study.model_validate(STUDY | {"data": data, "tasks": {"o": {"data": "other"}}})
    assert outline(study, None) is None


def test_a_study_whose_data_is_not_there_does_not_run_and_says_what_is_missing() -> None:
    with pytest.raises(InputError) as error:
        Plan.make(Study.model_validate(STUDY))
    text = str(error.value)
    assert "web: Conceptual 12M at 'nowhere' (`headwater sources cc12m`" in text
    assert "pets: Oxford-IIIT Pets" in text and "headwater plan" in text and "\n" not in text


@pytest.mark.parametrize("gpu", ["h10", "A10x", "cpu"])
def test_a_gpu_that_is_not_known_is_refused_with_the_nearest(gpu: str) -> None:
    with pytest.raises(InputError, match="is none of v100"):
        gpu_named(gpu)
    assert gpu_named("A100") is gpu_named("a100")


def test_the_command_outlines_prints_and_ends_with_0(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(json.dumps(STUDY))

    def ran(*words: str) -> str:
        result = CliRunner().invoke(app, ["plan", str(path), "--data-root", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
        return result.output

    text = ran("--gpu", "a100", "--utilisation", "0.5")
    assert "an outline from published numbers" in text
    assert "hours of one NVIDIA A100 SXM at 0.5 of its 312 TFLOP/s" in text
    facts = json.loads(ran("--json"))
    assert facts["outline"] and facts["gpu"]["name"] == "h100"
    assert {row["data"] for row in facts["missing"]} == {"web", "photos", "pets"}
    for words in (["--gpu", "h10"], ["--utilisation", "1.5"]):
        result = CliRunner().invoke(app, ["plan", str(path), *words])
        assert isinstance(result.exception, InputError)
    ran_study = CliRunner().invoke(app, ["run", str(path), "--store", str(tmp_path / "s")])
    assert isinstance(ran_study.exception, InputError)
    assert "data that is not there" in str(ran_study.exception)
