"""Protocols are declared in one file each, and all else is made from their declarations."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.neighbors import NearestCentroid

from headwater.errors import InputError
from headwater.plan import Plan
from headwater.registry import PROTOCOLS
from headwater.study import Study
from headwater.tasks import Draw
from headwater.transfer import protocols
from headwater.transfer.probe import Fit
from tests.conftest import tiny
from tests.transfer.test_probe import blobs

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "headwater"
STARTS: dict[str, Any] = {
    "probe": {"shots": 2},
    "ridge": {"shots": 2},
    "knn": {"shots": 2},
    "zeroshot": {},
    "finetune": {"shots": 2, "head_init": "text"},
    "lpft": {"shots": 2},
}
MADE_BY = {
    "probe": {"probe", "lpft"},
    "ridge": {"ridge"},
    "knn": {"knn"},
    "zeroshot": {"zeroshot", "finetune"},
    "finetune": {"finetune"},
    "lpft": {"lpft"},
}


def cell_ids() -> dict[str, str]:
    plan = Plan.make(Study.model_validate(tiny(methods=["clip"], protocols=STARTS)))
    return {cell.words.protocol: cell.id for cell in plan.cells if cell.arm is plan.arms[0]}


@pytest.mark.parametrize("name", MADE_BY)
def test_a_new_version_of_a_protocol_touches_its_own_cells_and_those_whose_head_it_makes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cell_ids()
    monkeypatch.setattr(PROTOCOLS[name], "version", 1000)
    after = cell_ids()
    assert {protocol for protocol in before if before[protocol] != after[protocol]} == MADE_BY[name]


def test_a_protocol_that_is_none_is_refused_with_its_line_and_the_nearest_name() -> None:
    text = yaml.safe_dump(tiny(protocols={"probe": {}, "finetuned": {}}), sort_keys=False)
    line = text.splitlines().index("  finetuned: {}") + 1
    with pytest.raises(
        InputError,
        match=rf"^study.yaml, line {line}: unknown key 'protocols.finetuned'; "
        "did you mean 'finetune'",
    ):
        Study.parse(text, "study.yaml")


def test_lpft_from_another_start_than_the_probe_is_refused_with_its_line() -> None:
    text = yaml.safe_dump(tiny(protocols={"lpft": {"head_init": "zeros"}}), sort_keys=False)
    line = text.splitlines().index("    head_init: zeros") + 1
    with pytest.raises(
        InputError,
        match=rf"^study.yaml, line {line}: protocols.lpft.head_init: lpft starts from the probe",
    ):
        Study.parse(text, "study.yaml")


def test_a_study_that_names_no_protocol_is_measured_by_the_probe_with_its_defaults() -> None:
    words = tiny()
    del words["protocols"]
    study = Study.model_validate(words)
    assert dict(study.protocols.items()) == {"probe": PROTOCOLS["probe"].words()}


@pytest.mark.parametrize("protocol", list(PROTOCOLS), ids=lambda protocol: protocol.name)
def test_every_default_of_a_protocol_says_where_it_comes_from(
    protocol: protocols.TransferProtocol[Any],
) -> None:
    for key, field in protocol.words.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), key
        assert str(extra["source"]).startswith(("[paper]", "[recalled]", "[ours]")), key


def test_no_code_but_the_entries_compares_a_protocol_with_a_name() -> None:
    """What a protocol does differently is asked of its declaration."""
    places = []
    for path in SRC.rglob("*.py"):
        if path.parent.name == "protocols":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and "protocol" in ast.unparse(node):
                texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                if texts & set(MADE_BY):
                    places.append(f"{path.name}, line {node.lineno}: {ast.unparse(node)}")
    assert places == []


def test_what_is_fitted_to_no_image_has_one_cell_and_no_shots() -> None:
    assert list(protocols.ProtocolWords().cells()) == [(None, None)]
    few = protocols.OnImages(shots=(1, "full"), draws=2)
    assert list(few.cells()) == [(1, 0), (1, 1), (None, None)]


def test_the_example_of_a_protocol_runs_and_is_the_nearest_centroid_of_scikit_learn() -> None:
    """The folder's own words show how a protocol is written."""
    _, _, example = (protocols.__doc__ or "").partition("features:\n\n")
    code, _, _ = example.partition("\nAnother package")
    written: dict[str, Any] = {"__name__": "example"}
    exec(textwrap.dedent(code), written)
    entry = written["ENTRY"]
    train, labels = blobs(60, 8, 3, seed=0)
    test, _ = blobs(40, 8, 3, seed=1)
    bench = SimpleNamespace(
        num_classes=3,
        fit=lambda draw: Fit(train, labels, train[:0], labels[:0]),
        test_features=lambda: test,
    )
    none = np.empty(0, dtype=np.int64)
    (choice,) = entry.measure(bench, [Draw(none, none, 0)], entry.words())
    expected = NearestCentroid().fit(train, labels).predict(test)
    assert len(set(expected)) == 3
    assert np.array_equal(choice.predictions, expected)
    with PROTOCOLS.registered(entry):
        assert PROTOCOLS.names()[3] == "nearest-mean"
