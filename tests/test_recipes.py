"""Recipes: what a study says wins over the defaults, and nothing is silently ignored."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from headwater.errors import InputError
from headwater.recipes import ARM_ROOMS, FEATURE_ROOMS, ROOM_VERSIONS, resolve
from headwater.registry import METHODS, PROTOCOLS
from headwater.study import Augmentation, Study

TRAINED = ["supervised", "clip", "simclr"]


def study(recipe: dict[str, Any] | None = None) -> Study:
    data = {"a": {"kind": "folder", "path": "a"}}
    return Study.model_validate(
        {
            "study": "s",
            "data": data,
            "sources": ["a"],
            "tasks": {"t": {"data": "a"}},
            "budget": {"epochs": 1},
            "recipe": recipe or {},
        }
    )


@pytest.mark.parametrize("method", TRAINED)
def test_the_defaults_are_a_whole_valid_recipe(method):
    recipe = resolve(study(), method)
    assert recipe is not None
    assert recipe.words() == METHODS[method].recipe().words()
    for needed in (
        "batch",
        "optimiser",
        "lr",
        "weight_decay",
        "momentum",
        "beta2",
        "warmup",
        "schedule",
        "clip_norm",
        "augmentation",
    ):
        assert getattr(recipe, needed) is not None
    assert recipe.augmentation is not None
    for needed in ("crop_min", "flip", "jitter", "jitter_probability", "grey", "blur"):
        assert getattr(recipe.augmentation, needed) is not None


def test_scratch_has_no_recipe():
    assert resolve(study({"lr": 0.5}), "scratch") is None


def test_a_methods_own_words_win_over_those_for_all_and_those_over_the_defaults():
    words = study({"lr": 0.1, "batch": 64, "simclr": {"lr": 0.2}})
    assert [(resolve(words, m).lr, resolve(words, m).batch) for m in TRAINED] == [
        (0.1, 64),
        (0.1, 64),
        (0.2, 64),
    ]
    assert resolve(words, "simclr").temperature == 0.1


def test_siglip_starts_at_a_temperature_of_its_own_unless_one_is_said():
    """Its learned scale starts at 10 (Zhai et al. 2023, section 3), that of InfoNCE at 1 / 0.07."""
    assert resolve(study(), "clip").temperature == 0.07
    assert resolve(study({"contrast": "siglip"}), "clip").temperature == 0.1
    assert resolve(study({"contrast": "siglip", "temperature": 0.3}), "clip").temperature == 0.3


def test_words_for_all_methods_reach_only_those_that_have_them():
    words = study({"temperature": 0.5, "label_smoothing": 0.1})
    assert not hasattr(resolve(words, "supervised"), "temperature")
    assert resolve(words, "supervised").label_smoothing == 0.1
    assert resolve(words, "simclr").temperature == resolve(words, "clip").temperature == 0.5
    assert not hasattr(resolve(words, "simclr"), "label_smoothing")


def test_a_setting_that_a_method_does_not_have_is_refused_under_its_name():
    text = yaml.safe_dump(study().words()) + "recipe:\n  supervised:\n    temperature: 0.5\n"
    with pytest.raises(InputError, match=r"unknown key 'recipe\.supervised\.temperature'"):
        Study.parse(text.replace("recipe: {}\n", ""))


def test_augmentation_is_merged_field_by_field_and_an_explicit_zero_counts():
    words = study(
        {"augmentation": {"flip": 0.0, "grey": 0.9}, "simclr": {"augmentation": {"grey": 0.0}}}
    )
    default = METHODS["simclr"].recipe().augmentation.words()
    assert resolve(words, "simclr").augmentation == Augmentation(
        **{**default, "flip": 0.0, "grey": 0.0}
    )
    assert resolve(words, "supervised").augmentation == Augmentation(
        **{**METHODS["supervised"].recipe().augmentation.words(), "flip": 0.0, "grey": 0.9}
    )


@pytest.mark.parametrize("word", ["momentum", "beta2"])
def test_a_moment_of_adamw_that_would_never_forget_is_refused_before_training(word):
    with pytest.raises(InputError, match=rf"recipe\.simclr: {word} should be below 1 for adamw"):
        resolve(study({word: 1.0}), "simclr")
    assert resolve(study({"optimiser": "sgd", word: 1.0}), "simclr") is not None


def test_text_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="text_width 30 is no multiple of text_heads 4"):
        resolve(study({"clip": {"text_width": 30}}), "clip")


def test_every_room_that_enters_an_identity_has_a_version():
    cells = {room for protocol in PROTOCOLS for room in protocol.rooms}
    own = {"leaks"}  # where copies are looked for (Plan.looks_for_copies)
    assert {*ARM_ROOMS, *FEATURE_ROOMS, *cells, *own} == {*ROOM_VERSIONS, "pixels"}


def test_lars_has_no_rate_by_default():
    with pytest.raises(
        InputError,
        match=r"recipe\.simclr: lars needs an lr and a weight_decay of its own: about 0\.3 for a "
        r"batch of 256",
    ):
        resolve(study({"optimiser": "lars", "lr": 0.3}), "simclr")
    assert (
        resolve(study({"optimiser": "lars", "lr": 0.3, "weight_decay": 1e-6}), "simclr").lr == 0.3
    )


def test_a_magnitude_that_is_the_default_is_the_same_said_or_not():
    said, unsaid = (
        {"augmentation": {"randaugment": 2, **more}} for more in ({"randaugment_magnitude": 9}, {})
    )
    assert resolve(study(said), "clip") == resolve(study(unsaid), "clip")


def test_words_that_say_what_their_absence_says_are_left_out():
    plain = resolve(study(), "clip")
    said = {
        "contrast": "infonce",
        "micro_batch": 4096,
        "augmentation": {
            "solarise": 0.0,
            "randaugment": 0,
            "randaugment_magnitude": 5,
            "cutout": 0,
        },
    }
    assert resolve(study(said), "clip") == plain
    other = {
        "contrast": "siglip",
        "micro_batch": 8,
        "augmentation": {
            "solarise": 0.1,
            "randaugment": 2,
            "randaugment_magnitude": 5,
            "cutout": 0.5,
        },
    }
    words = resolve(study(other), "clip").words()
    assert (words["contrast"], words["micro_batch"]) == ("siglip", 8)
    assert other["augmentation"].items() <= words["augmentation"].items()


def test_a_method_that_is_none_is_refused_with_its_line_and_the_nearest() -> None:
    text = yaml.safe_dump(study().words()).replace("- supervised\n", "- supervisd\n")
    line = text.splitlines().index("- supervisd") + 1
    with pytest.raises(InputError, match=rf"line {line}: .*'supervisd' is none of .*'supervised'"):
        Study.parse(text)
    with pytest.raises(InputError, match="'mea' is none of"):
        METHODS["mea"]


def test_a_change_of_one_methods_version_touches_no_other_methods_identity(monkeypatch) -> None:
    from headwater.methods.simclr import SimCLR
    from headwater.plan import Plan
    from tests.conftest import tiny

    words = Study.model_validate(tiny(methods=["scratch", "supervised", "simclr"]))
    before = {arm.words.method: arm.id for arm in Plan.make(words).arms}
    monkeypatch.setattr(SimCLR, "version", SimCLR.version + 1)
    after = {arm.words.method: arm.id for arm in Plan.make(words).arms}
    assert {method for method in before if before[method] != after[method]} == {"simclr"}


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("  clip_norm: null\n", r"line 9: recipe\.clip_norm: null says nothing here, and"),
        ("  lr: null\n", r"line 9: recipe\.lr: null says nothing here"),
        (
            "  supervised:\n    clip_norm: null\n",
            r"line 10: recipe\.supervised\.clip_norm: null .* take 1\.0; leave clip_norm out",
        ),
    ],
)
def test_null_that_would_leave_a_default_standing_is_refused(recipe: str, said: str) -> None:
    text = (
        "study: s\ndata:\n  a: {kind: folder, path: a}\nsources: [a]\ntasks:\n  t: {data: a}\n"
        f"budget: {{epochs: 1}}\nrecipe:\n{recipe}"
    )
    with pytest.raises(InputError, match=said):
        Study.parse(text)
    assert resolve(study({"ema": None}), "supervised") == resolve(study(), "supervised")


def test_a_default_that_a_method_implies_and_does_not_allow_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = METHODS["simclr"].recipe
    monkeypatch.setattr(kind, "implied", classmethod(lambda cls, given: {"lr": -1.0}))
    with pytest.raises(InputError, match=r"recipe\.simclr: lr: Input should be greater than 0"):
        resolve(study(), "simclr")
