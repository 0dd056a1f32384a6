"""What a study costs: a closed form of the estimate, and what is kept of measuring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from headwater import api, digests
from headwater.cost import Measured, estimate, kept, measured
from headwater.cost.calibration import batch_of
from headwater.cost.encoder import recipe_key
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny, write_study


def plan(**changes: Any) -> Plan:
    return Plan.make(Study.model_validate(tiny(**changes)))


def known(of: Plan) -> Measured:
    """An encoder whose numbers are round."""
    return Measured(
        forward_flops=1e6,
        num_features=10,
        weight_bytes=4000,
        image_flops={recipe_key(arm): 3e6 for arm in of.every_arm if arm.recipe is not None},
        timm={},
        notes=[],
        images_per_s=100.0,
        device="cpu",
        date="2026-01-02",
    )


def test_the_estimate_is_what_one_counts_by_hand() -> None:
    """One arm of 40 steps of 32 images and ten steps of fine-tuning at one rate: 1280 + 320 images
    of training at 100/s, a tenth more for the latter; features of 208 images cost a sixth of a
    training image each.
    """
    one = plan(
        methods=["scratch", "supervised"],
        protocols={
            "ridge": {"shots": ["full"]},
            "finetune": {"steps": 10, "lr": 1e-3, "looks": 2, "batch": 32},
        },
    )
    arms = [arm for arm in one.arms if arm.words.method == "supervised"]
    cells = [cell for cell in one.cells if cell.arm is arms[0]]
    assert [cell.words.protocol for cell in cells] == ["ridge", "finetune"]
    cost = estimate(one, arms, cells, known(one), workers=2)
    assert (cost.pretrain_images, cost.finetune_images) == (1280, 320)
    features = 96 + 48 + 64
    assert cost.flops == pytest.approx(3e6 * 1280 + 3e6 * 320 + 1e6 * features)
    seconds = (1280 + 1.1 * 320) / 100 + features / 600
    assert cost.hours == pytest.approx((seconds / 2 + 4.3) / 3600)
    decoded = (192 + 48 + 64 + 96 + 48 + 64) * 40 * 40 * 3 * 1.1
    assert cost.disk_mb == pytest.approx((4000 + 4 * 10 * features + decoded + 6000) / 1e6)
    assert cost.measured == "2026-01-02"


def test_nothing_to_do_costs_nothing() -> None:
    one = plan()
    cost = estimate(one, [], [], known(one), workers=1)
    assert (cost.pretrain_images, cost.flops, cost.hours, cost.disk_mb) == (0, 0.0, 0.0, 0.0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "headwater" / "encoders"


@pytest.mark.slow
def test_what_was_measured_is_kept_for_the_same_encoder_alone(cache: Path) -> None:
    one = plan(methods=["supervised"])
    first = measured(one, "cpu")
    assert measured(one, "cpu") == first
    assert len(list(cache.iterdir())) == 1
    assert first.forward_flops > 0
    assert first.num_features == 96
    others = [
        plan(methods=["supervised"], image_size=40),
        plan(methods=["supervised"], precision="fp32"),
        plan(methods=["simclr"]),
    ]
    for other in others:
        measured(other, "cpu")
    assert len(list(cache.iterdir())) == 1 + len(others)
    assert measured(plan(methods=["supervised"], seeds=3), "cpu") == first, "seeds cost no model"


def test_a_rate_that_was_measured_beside_other_work_can_be_measured_anew(cache: Path) -> None:
    one = plan(methods=["supervised"])
    measured(one, "cpu")
    (path,) = cache.iterdir()
    path.write_text(_sealed({**json.loads(path.read_text()), "images_per_s": 1e-3}))
    assert measured(one, "cpu").images_per_s == 1e-3
    assert measured(one, "cpu", fresh=True).images_per_s > 1e-3
    assert measured(one, "cpu").images_per_s > 1e-3, "what was found is kept"


@pytest.mark.parametrize(
    "damage",
    [
        lambda words: "{",
        lambda words: "[]",
        lambda words: json.dumps({**words, "form": 0}),
        lambda words: _sealed({**words, "images_per_s": 0.0}),
        lambda words: _sealed({**words, "images_per_s": "fast"}),
        lambda words: _sealed({**words, "more": 1}),
        lambda words: _sealed({name: words[name] for name in words if name != "timm"}),
        lambda words: _sealed({**words, "date": _days_ago(kept.SERVES_DAYS + 1)}),
        lambda words: _sealed({**words, "date": _days_ago(-5)}),
    ],
)
def test_what_cannot_be_read_or_is_too_old_is_measured_anew(cache: Path, damage: Any) -> None:
    one = plan(methods=["supervised"])
    path = cache / "kept.json"
    cache.mkdir(parents=True)
    words = digests.sealed(asdict(replace(known(one), date=_days_ago(0))))
    path.write_text(_sealed(words))
    assert kept._read(path) == replace(known(one), date=_days_ago(0))
    path.write_text(damage(words))
    assert kept._read(path) is None


def _sealed(words: dict[str, Any]) -> str:
    return json.dumps(digests.sealed(words))


def _days_ago(days: int) -> str:
    return (date.today() - timedelta(days=days)).isoformat()


def test_a_cache_that_cannot_be_written_costs_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert measured(plan(methods=["supervised"]), "cpu").num_features == 96


def test_a_backbone_that_cannot_be_is_blamed_on_its_line(cache: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny(backbone="resnet999"))
    line = 1 + study.read_text().splitlines().index("backbone: resnet999")
    with pytest.raises(InputError, match=rf"study\.yaml, line {line}: .*resnet999"):
        measured(Plan.make(Study.load(study)), "cpu")
    assert not cache.exists()


@pytest.mark.slow
def test_a_second_plan_loads_no_torch_and_says_the_same(cache: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny(methods=["scratch", "supervised", "simclr"]))
    Store(tmp_path / "store", create=True)
    facts = api.plan_facts(study, store=tmp_path / "store", device="cpu")
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'open_clip', 'torchvision'): sys.modules[name] = None\n"
        "sys.argv = ['headwater', 'plan', sys.argv[1], '--store', sys.argv[2], '--device', 'cpu',"
        " '--json']\n"
        "from headwater import cli\n"
        "sys.exit(cli._guarded(cli.app))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(study), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    again = json.loads(done.stdout)
    for said in (again, facts):
        assert said["cost"].pop("disk_free_mb") > 0  # others write there too
    assert again == json.loads(json.dumps(facts))


@pytest.mark.parametrize("image_size", [8, 32, 128, 129, 224, 512, 1024])
def test_a_batch_that_is_measured_has_no_more_pixels_at_large_images(image_size: int) -> None:
    batch = batch_of(image_size, 1e6)
    assert 1 <= batch <= 64
    assert batch * image_size**2 <= 64 * 128**2
    assert batch == 64 or image_size > 128
    assert batch_of(image_size, 1e12) == 1
