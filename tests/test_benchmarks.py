"""The benchmarks: they run, both sides train the same thing, the arithmetic of their tables is
right, and planted worlds are what they say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from headwater import make_plan
from headwater.analysis import prepare
from headwater.registry import METHODS
from headwater.study import Study
from tests.toy import FP32

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PEERS = [
    ("simclr_lightly", "simclr"),
    ("supervised_timm", "supervised"),
    ("clip_open_clip", "clip"),
]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark's module as its script would find it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def importing(name: str) -> ModuleType:
        import importlib

        return importlib.import_module(name)

    return importing


def test_the_table_of_medians_says_median_and_range(load):
    spread = load("machine").Spread.of([3.0, 1.0, 2.0, 10.0, 2.5])
    assert spread.text(1) == "2.5 (1.0 to 10.0)"
    assert load("machine").met(0.9, 0.9).endswith("met")
    assert load("machine").met(0.899, 0.9).endswith("MISSED")


def test_a_listing_holds_the_training_images_with_their_finest_class_and_captions(load, tmp_path):
    photos = load("photos")
    root = tmp_path / "some"
    root.mkdir()
    (root / "labels.csv").write_text(
        "path,split,level1,level2\na.jpg,train,animal,dog\nb.jpg,test,animal,cat\nc.jpg,train,plant,oak\nd.jpg,train,animal,dog\n"
    )
    (root / "captions.jsonl").write_text(
        json.dumps({"path": "c.jpg", "captions": ["an oak"]}) + "\n"
    )
    listing = photos.real(tmp_path, ("some",))
    assert listing.files == [str(root / name) for name in ("a.jpg", "c.jpg", "d.jpg")]
    assert (listing.labels, listing.num_classes, listing.captions) == (
        [0, 1, 0],
        2,
        [[], ["an oak"], []],
    )
    assert photos.Listing.read(listing.write(tmp_path / "listing.json")) == listing


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), PEERS)
@pytest.mark.filterwarnings("ignore")  # what the peers' libraries warn of is theirs
def test_a_peer_trains_our_encoder_by_our_recipe_and_its_loss_falls(load, tmp_path, name, method):
    peer, session, photos = load(name), load("session"), load("photos")
    recipe = METHODS[method].recipe().words()
    assert (recipe["lr"], (recipe["momentum"], recipe["beta2"]), recipe["weight_decay"]) == (
        peer.LR,
        peer.BETAS,
        peer.WEIGHT_DECAY,
    )
    assert (
        recipe["clip_norm"],
        recipe["batch"],
        recipe["augmentation"]["crop_min"],
        recipe["augmentation"]["flip"],
    ) == (peer.CLIP_NORM, peer.BATCH, peer.CROP_MIN, peer.FLIP)
    if method == "supervised":
        s = recipe["augmentation"]["jitter"]
        assert pytest.approx((0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)) == peer.JITTER
    listing = photos.made(tmp_path, 48).write(tmp_path / "made.json")
    found = session.Session(peer.loader, peer.build, peer.run_epoch).run(
        session.Setting(listing=str(listing), batch=16, epochs=16)
    )
    ours = made_arm(load, tmp_path, method)
    assert {key: found[key] for key in ("parameters", "flops")} == ours.cost()
    assert found["images"] == 48 and len(found["seconds"]) == 16 and len(found["losses"]) == 48
    assert sum(found["losses"][-12:]) < sum(found["losses"][:12])  # what peers draw has no seed


def made_arm(load: Any, folder: Path, method: str) -> Any:
    """A small arm on made images."""
    import numpy as np

    from headwater import keys
    from headwater.labels import Targets
    from headwater.sources.pixels import PixelCache

    arm, photos = load("arm"), load("photos")
    listing = photos.made(folder, 48)
    pixels = PixelCache.build(
        photos.PhotoFiles(listing), np.arange(48), 32, folder / "cache", fingerprint="made"
    )
    small = {"text_width": 32, "text_heads": 2, "text_layers": 1} if method == "clip" else {}
    return arm.Arm(
        method,
        "tiny",
        32,
        arm.recipe_of(method, batch=16, **small),
        FP32,
        pixels,
        keys.sample_hashes([Path(file).name for file in listing.files]),  # the folder is random
        targets=Targets(codes=np.array(listing.labels), names=("0", "1"), view="level:0"),
        captions=listing.captions,
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "clip", "simclr"])
def test_our_side_trains_and_its_parts_add_up_to_the_whole(load, tmp_path, method):
    torch.set_num_threads(1)
    arm = made_arm(load, tmp_path, method)
    seconds, losses = arm.train(96, loader_workers=1)
    assert seconds > 0 and len(losses) == 6
    assert sum(losses[-2:]) < sum(losses[:2])
    assert arm.pure(2) > 0
    parts = arm.parts(2)
    assert min(parts[name] for name in ("gather", "views", "compute", "whole")) > 0
    assert sum(ms for name, ms in parts.items() if name != "whole") == pytest.approx(parts["whole"])


def test_every_setting_of_a_peer_can_be_asked_for_by_name(load):
    """The parent sends settings as JSON; a misspelt one must not pass."""
    session = load("session")
    names = {field.name for field in fields(session.Setting)}
    assert {
        "listing",
        "batch",
        "image_size",
        "images",
        "epochs",
        "workers",
        "threads",
        "bf16",
        "channels_last",
        "context",
    } == names
    with pytest.raises(TypeError):
        session.Setting(listing="x", loader_workers=1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "clip", "simclr"])
@pytest.mark.filterwarnings("ignore")
def test_the_gpu_benchmark_runs_on_a_cpu_and_gives_a_share_of_the_peak(load, capsys, method):
    load("gpu").main(
        [
            "--device",
            "cpu",
            "--quick",
            "--model",
            "test_resnet",
            "--size",
            "32",
            "--method",
            method,
            "--precision",
            "fp32",
            "--peak",
            "1e12",
        ]
    )
    out = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")][
        2:
    ] == ["ours", "pure", "plain"]
    assert out.count(" % |") == 3


def test_a_share_of_the_peak_is_flops_times_speed_over_it(load):
    """10 images/s of 5e9 FLOPs each are 5e10 of 1e12 FLOP/s: 5 %."""
    gpu = load("gpu")
    text = gpu.report(
        {name: [10.0] * 5 for name in ("ours", "pure", "plain")},
        dict.fromkeys(("ours", "pure", "plain"), 5e9),
        1e12,
    )
    assert text.count("5.0 %") == 3
    assert [
        gpu.peak_of(name)
        for name in (
            "NVIDIA H200",
            "NVIDIA H100 80GB HBM3",
            "NVIDIA H100 PCIe",
            "NVIDIA A100-SXM4-80GB",
            "another",
        )
    ] == [
        989e12,
        989e12,
        756e12,
        312e12,
        None,
    ]


def test_without_a_gpu_the_gpu_benchmark_says_so(load, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        load("gpu").main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "no GPU here\n"


@pytest.mark.slow
def test_the_command_measures_both_ratios(tmp_path):
    out = tmp_path / "found.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "pretrain.py"),
        "--all",
        "--quick",
        "--models",
        "tiny",
        "--sizes",
        "32",
        "--json",
        str(out),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text())
    assert [one["method"] for one in found["ratio"]] == ["supervised", "clip", "simclr"]
    assert all(one["workers"] == 2 and len(one["ratio"]) == 1 for one in found["two at once"])
    assert all(
        set(one["rounds"]) == {"ours fp32", "peer fp32", "ours bf16", "peer bf16"}
        for one in found["peers"]
    )
    assert "MISSED" not in answer.stdout, "a trial run claims nothing"


@pytest.mark.slow
def test_the_command_measures_what_compiling_gains(tmp_path):
    out = tmp_path / "found.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "pretrain.py"),
        "--compile",
        "--quick",
        "--models",
        "tiny",
        "--sizes",
        "32",
        "--json",
        str(out),
    ]
    answer = subprocess.run(
        [*command, "--methods", "supervised"], capture_output=True, text=True, timeout=600
    )
    assert answer.returncode == 0, answer.stderr
    (one,) = json.loads(out.read_text())["compiled"]
    assert len(one["eager"]) == len(one["compiled"]) == 1
    assert one["first_s"] > 0


def made_task(load: Any, *, draws: int = 2) -> Any:
    """Features of 4 classes with some noise, as `transfer.benched` gives them."""
    rng = np.random.default_rng(0)
    labels = np.arange(480) % 4
    features = (rng.normal(size=(4, 12))[labels] + rng.normal(size=(480, 12))).astype(np.float32)
    train, val, test = np.arange(160), np.arange(160, 240), np.arange(240, 480)
    made = {
        (shots, i): (train[(i * 4) : (i * 4) + 4 * shots], val[: 4 * shots])
        for shots in (1, 5, 10, 20)
        for i in range(draws)
    }
    return load("transfer").Benched("made", features, labels, 4, test, (train, val), made)


def test_the_sides_of_the_probes_benchmark_solve_the_same_problem(load):
    bench = load("transfer")
    task = made_task(load)
    found = bench.run_probes(task, 2, 9, 1)
    assert set(found["seconds"]) == {"scikit-learn", "logistic", "ridge"}
    for shots in bench.SHOTS:
        theirs, ours = found["scores"]["scikit-learn"][shots], found["scores"]["logistic"][shots]
        assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.03)
        assert np.mean(ours) > 0.4
    assert bench.loss_gap(task, 5, bench.LOGISTIC_L2[::11])[0] < 1e-3


def test_the_benchmark_of_the_whole_grid_has_the_papers_tasks_and_reads_features_from_files(
    load, tmp_path, monkeypatch
):
    bench = load("transfer")
    sizes = bench.paper_sizes()
    assert len(sizes) == 9
    assert sizes["domainnet-real"] == (345, 120906, 0, 52041)
    monkeypatch.setattr(
        bench, "paper_sizes", lambda: {"dtd": (4, 120, 120, 80), "pets": (3, 150, 0, 60)}
    )
    found = bench.run_grid(24, 2, tmp_path)
    assert [row[5] for row in found["rows"]] == ["9", "9"], (
        "4 shot counts x 2 draws, and all images once"
    )
    assert found["seconds"] > 0 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_table_of_the_reports_benchmark_is_one_that_a_study_could_make(load):
    made = load("report_scale").made_rows(1)
    assert len(made) == 100_000 and made["cell"].nunique() == 50_000
    table = prepare(made)
    assert table["usable"].all() and table["configuration"].nunique() == 50
    per_cell = made.groupby("cell")[["arm", "task", "protocol", "shots", "draw"]].nunique()
    assert (per_cell == 1).all(axis=None)
    assert (made.groupby("arm")["value"].mean().std()) > 0.01, "arms differ"


ONE_OF_EACH_KIND = (0, 1, 2, 3, 4, 7, 9)


@pytest.mark.slow
def test_planted_worlds_are_studies_whose_best_arms_exist(load, monkeypatch):
    """Planned by the ordinary way, so that labels, sources and seeds are what the plant says."""
    worlds = load("planted_worlds")
    monkeypatch.setattr(worlds, "POOL", 2_000)  # a name and captions for each image take time
    kinds = []
    for number in ONE_OF_EACH_KIND:
        plant = worlds.planted(number)
        again = worlds.planted(number)
        plan = make_plan(Study.parse(yaml.safe_dump(plant.words)))
        arms = {(arm.words.source, arm.words.labels) for arm in plan.arms}
        assert arms == set(plant.roles) and set(plant.best) <= arms
        assert len(plan.arms) == len(arms) * plant.words["seeds"], "no two arms are one"
        assert plant == again and plant != worlds.planted(number + 10)
        tasks = {use["data"] for use in plant.words["tasks"].values()}
        of_tasks = {plant.words["data"][name]["collection"] for name in tasks}
        others = {
            each["collection"] for name, each in plant.words["data"].items() if name not in tasks
        }
        assert not of_tasks & others, "a task shares no image with a source"
        kinds.append(plant.kind)
    assert len(set(kinds)) == 7 and len(kinds) == 7


def outcome_of(load: Any, kind: str, pick: str, said: str) -> Any:
    """What was said of three arms a, b and c, 60, 59.8 and 50 points, of which a is the best; of
    `tie`, a and b.
    """
    worlds, planted = load("planted_worlds"), load("planted")
    arms = {("s", name): name for name in "abc"}
    best = (("s", "a"), ("s", "b")) if kind == "tie" else (("s", "a"),)
    return planted.Outcome(
        plant=worlds.Plant(kind, {"study": kind, "seeds": 3}, best, arms),
        confidence=said,
        sure=said == "told apart",
        decided=said != "not told apart",
        pick=("s", pick),
        shortlist=(("s", pick),),
        p_best={("s", "a"): 0.6, ("s", "b"): 0.4, ("s", "c"): 0.0},
        means={("s", "a"): 60.0, ("s", "b"): 59.8, ("s", "c"): 50.0},
        regret_bound=1.0,
        seconds=1.0,
        arms=tuple(arms),
        scores=np.array([60.0, 59.8, 50.0]) + np.random.default_rng(0).normal(size=(4, 3)),
    )


def test_decisions_are_right_open_or_wrong_by_what_was_planted(load):
    planted = load("planted")
    leads = {kind: {"a": 0.0, "b": 0.2, "c": 10.0} for kind in ("one", "tie")}
    answers = {
        ("one", "a", "told apart"): "right",
        ("one", "a", "as good in practice"): "right",
        ("one", "a", "not told apart"): "undecided",
        ("one", "c", "not told apart"): "undecided",
        ("one", "b", "told apart"): "right",  # 0.2 points behind, which do not matter
        ("one", "c", "told apart"): "wrong",
        ("one", "c", "as good in practice"): "wrong",
        ("tie", "a", "told apart"): "wrong",
        ("tie", "b", "as good in practice"): "right",
        ("tie", "b", "not told apart"): "undecided",
    }
    for case, answer in answers.items():
        outcome = outcome_of(load, *case)
        assert planted.verdict(outcome, planted.good_of(outcome.plant, leads)) == answer, case
    assert planted.limits(["right"] * 24 + ["undecided"] * 14 + ["wrong"] * 2) == []
    assert len(planted.limits(["right"] * 20 + ["undecided"] * 17 + ["wrong"] * 3)) == 2


@pytest.mark.slow
def test_the_audit_says_how_far_the_planted_best_is_ahead_and_where_it_is_not(load):
    planted = load("planted")
    audited = [outcome_of(load, "one", "a", "told apart") for _ in range(2)]
    assert planted.leads_of(audited) == {"one": {"b": pytest.approx(0.2), "c": 10.0}}
    assert planted.contradicted(audited) == []
    turned = [
        replace(each, means={("s", "a"): 5.0, ("s", "b"): 9.0, ("s", "c"): 1.0}) for each in audited
    ]
    assert planted.contradicted(turned) == ["one: b, 4.0 points ahead"]
    page = "\n".join(planted.page(audited, audited, {}, missed := []))
    assert planted.regret_of(turned[0], {}) == 0, "the planted best was picked"
    other = replace(turned[0], pick=("s", "b"))
    same, less = (planted.Again(each, each) for each in (audited[0], turned[0]))
    assert planted.regret_of(other, {"one": same}) == pytest.approx(0.2)
    assert planted.regret_of(other, {"one": less}) == planted.lead_of(turned[0]) == -4
    assert missed == [] and "Decided in 100 % (limit: at least 60)" in page
