"""Devices and precision: what `auto` means, and clear words for what is not there."""

from __future__ import annotations

import json
import math
import threading

import pytest
import torch
from torch import nn

from headwater import device, machine
from headwater.errors import InputError
from tests.toy import BF16


def test_auto_takes_an_accelerator_before_the_processor(monkeypatch):
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=cuda: here)
        monkeypatch.setattr(torch.cuda, "device_count", lambda here=cuda: int(here))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda here=mps: here)
        assert device.resolve("auto", "fp32").device.type == expected


def test_automatic_precision_is_bf16_where_the_hardware_has_it(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda has=has: has)
        assert device.resolve("cpu").bf16 == device.resolve("cpu:0").bf16 == has
    assert device.resolve("cpu", "bf16").bf16
    assert not device.resolve("cpu", "fp32").bf16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "none of auto, cpu, cuda, mps"),
        ("", "none of"),
        ("cpu:x", "after the colon"),
        ("cpu:-2", "number"),
    ],
)
def test_a_device_that_is_none_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        device.resolve(name)


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="this machine has none; use --device cpu"):
        device.resolve("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert device.resolve("cuda:1").device == torch.device("cuda:1")
    with pytest.raises(InputError, match="this machine has 2, numbered from 0"):
        device.resolve("cuda:2")


def test_autocast_rounds_products_to_bf16_only_where_it_is_on_and_full_precision_ends_it():
    a = torch.eye(4)
    for bf16, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with device.Compute(torch.device("cpu"), bf16).autocast():
            assert (a @ a).dtype == dtype
            with device.full_precision(a):
                assert (a @ a).dtype == torch.float32
            assert (a @ a).dtype == dtype


def test_another_thread_that_asks_for_full_precision_leaves_the_rounded_weights_of_this_one_alone():
    """torch keeps one cache of weights that autocast rounded for all threads; a weight used twice
    must be rounded once whatever the others do.
    """
    weight, image = torch.nn.Parameter(torch.eye(4)), torch.eye(4)

    def elsewhere() -> None:
        with device.full_precision(image):
            assert (image @ image).dtype == torch.float32

    with device.Compute(torch.device("cpu"), True).autocast():
        first = image @ weight
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
        second = image @ weight
    rounded = [product.grad_fn.next_functions[1][0] for product in (first, second)]
    assert "ToCopy" in rounded[0].name()
    assert rounded[0] is rounded[1]


def test_the_fingerprint_tells_precision_and_threads_apart():
    prints = {device.Compute(torch.device("cpu"), bf16).fingerprint for bf16 in (True, False)}
    assert len(prints) == 2
    assert all(f"threads={torch.get_num_threads()}" in p for p in prints)


@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_the_fingerprint_says_which_instructions_the_processor_is_kept_from(name, monkeypatch):
    """They change the order of sums and so the last bits of a number."""
    for limit in machine.LIMITS:
        monkeypatch.delenv(limit, raising=False)
    compute = device.Compute(torch.device("cpu"), False)
    free = compute.fingerprint
    monkeypatch.setenv(name, "AVX2")
    assert compute.fingerprint == f"{free} {name}=AVX2"


def test_seeded_draws_depend_on_the_key_and_restore_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = []
    for key in (5, 5, 6, -5):
        with device.seeded(key):
            drawn.append(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1])
    assert not any(torch.equal(drawn[0], other) for other in drawn[2:])
    with pytest.raises(ZeroDivisionError), device.seeded(1):
        torch.rand(3 // 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_versions_are_canonical_json_of_the_packages_that_could_change_a_number():
    versions = json.loads(device.versions())
    assert (
        versions["torch"] == torch.__version__.split("+")[0]
        or versions["torch"] == torch.__version__
    )
    assert device.versions() == json.dumps(versions, sort_keys=True)
    assert set(versions) >= {"headwater", "numpy", "timm", "torch"}


@pytest.mark.parametrize(
    ("kernel", "stride", "height", "width"),
    [(3, 2, 1, 1), (5, 1, 1, 1), (5, 1, 1, 3), (5, 1, 3, 1), (3, 1, 4, 4)],
)
def test_gradients_of_small_convolutions_in_bf16_are_those_of_float32(
    kernel, stride, height, width
):
    """Freed memory is full of NaN meanwhile: what a kernel leaves unwritten would show."""
    layer = nn.Conv2d(24, 16, kernel, stride, kernel // 2, bias=False)
    images = torch.randn(64, 24, height, width, generator=torch.Generator().manual_seed(0))
    layer(images).square().mean().backward()
    expected = layer.weight.grad.clone()
    for _ in range(4):
        layer.weight.grad = None
        junk = torch.full((4_000_000,), math.nan)
        del junk
        with device.exact_small_convolutions(layer, BF16), BF16.autocast():
            loss = layer(images).float().square().mean()
        loss.backward()
        scale = float(expected.abs().max())
        torch.testing.assert_close(layer.weight.grad, expected, atol=0.03 * scale, rtol=0.05)
    assert not layer._forward_hooks


@pytest.mark.parametrize(("stride", "side"), [(2, 6), (1, 1), (1, 6)])
def test_convolutions_that_are_right_are_left_alone(stride, side):
    layer = nn.Conv2d(8, 8, 3, stride, 1)
    images = torch.randn(4, 8, side, side, generator=torch.Generator().manual_seed(0))
    with BF16.autocast():
        expected = layer(images)
        with device.exact_small_convolutions(layer, BF16):
            assert torch.equal(layer(images), expected)
