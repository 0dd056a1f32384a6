"""Optimiser steps against the formulas written by hand, and schedules against their promises."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headwater import optim

SCHEDULES = ("cosine", "linear", "constant")


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    net.register_parameter("temperature", nn.Parameter(torch.tensor(1.5)))
    return net


def loss_of(net: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(step))
    return net(x).square().mean() * net.temperature.exp()


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_equals_the_formula_of_loshchilov_and_hutter(decay):
    net = small_net()
    ours = optim.build(net, name="adamw", lr=1.0, weight_decay=decay, momentum=0.8, beta2=0.95)
    w = {name: p.detach().double().clone() for name, p in net.named_parameters()}
    m = {name: torch.zeros_like(p) for name, p in w.items()}
    v = {name: torch.zeros_like(p) for name, p in w.items()}
    for t in range(1, 6):
        lr = 0.01 * t
        optim.set_lr(ours, lr)
        loss_of(net, t).backward()
        for name, p in net.named_parameters():
            g = p.grad.double()
            m[name] = 0.8 * m[name] + 0.2 * g
            v[name] = 0.95 * v[name] + 0.05 * g**2
            if p.ndim > 1:
                w[name] = w[name] - lr * decay * w[name]
            w[name] = w[name] - lr * (m[name] / (1 - 0.8**t)) / ((v[name] / (1 - 0.95**t)).sqrt() + 1e-8)
        optim.step(ours, net, clip_norm=None)
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach().double(), w[name], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_equals_the_heavy_ball_with_decay_in_the_gradient(momentum):
    net = small_net()
    ours = optim.build(net, name="sgd", lr=0.05, weight_decay=0.1, momentum=momentum)
    w = {name: p.detach().double().clone() for name, p in net.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in w.items()}
    for t in range(1, 6):
        loss_of(net, t).backward()
        for name, p in net.named_parameters():
            velocity[name] = momentum * velocity[name] + p.grad.double() + (0.1 * w[name] if p.ndim > 1 else 0)
            w[name] = w[name] - 0.05 * velocity[name]
        optim.step(ours, net, clip_norm=None)
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach().double(), w[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_fused_kernels_equal_torchs_plain_ones(name):
    fused, plain = small_net(), small_net()
    ours = optim.build(fused, name=name, lr=0.02, weight_decay=0.1)
    groups = [{"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1}]
    groups += [{"params": [p for p in plain.parameters() if p.ndim <= 1], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.02, foreach=False) if name == "adamw" else torch.optim.SGD(groups, lr=0.02, momentum=0.9, foreach=False)
    for t in range(5):
        loss_of(fused, t).backward()
        for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
            b.grad = a.grad.clone()  # the same gradient, since Adam magnifies rounding where a gradient is zero (a bias before a batch norm)
        optim.step(ours, fused, clip_norm=None)
        theirs.step()
    for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_matrices_and_kernels_decay_and_frozen_parameters_stay(name):
    net = small_net()
    net[5].weight.requires_grad_(False)
    before = copy.deepcopy(dict(net.named_parameters()))
    optimiser = optim.build(net, name=name, lr=0.1, weight_decay=0.5, momentum=0.0)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optim.step(optimiser, net, clip_norm=None)
    for parameter, p in net.named_parameters():
        shrunk = 0.95 if parameter == "0.weight" else 1.0
        torch.testing.assert_close(p, before[parameter] * shrunk)


def test_clipping_bounds_the_norm_of_the_whole_gradient_and_spares_small_ones():
    for scale, expected in ((100.0, 0.5), (1e-3, None)):
        net = nn.Linear(3, 2)
        optimiser = optim.build(net, name="sgd", lr=1.0, weight_decay=0.0, momentum=0.0)
        before = torch.cat([p.detach().flatten() for p in net.parameters()])
        gradients = [torch.full_like(p, scale) for p in net.parameters()]
        for p, g in zip(net.parameters(), gradients, strict=True):
            p.grad = g.clone()
        optim.step(optimiser, net, clip_norm=0.5)
        moved = (before - torch.cat([p.detach().flatten() for p in net.parameters()])).norm()
        assert float(moved) == pytest.approx(expected or scale * math.sqrt(8), rel=1e-3)
        assert all(p.grad is None for p in net.parameters())


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from(SCHEDULES))
def test_every_schedule_reaches_the_base_rate_and_never_stops_before_the_end(steps, warmup, schedule):
    factors = [optim.lr_factor(step, steps, warmup=warmup, schedule=schedule) for step in range(steps)]
    assert max(factors) == 1.0
    assert min(factors) > 0
    peak = factors.index(1.0)
    assert peak <= max(0, min(steps - 1, warmup * steps + 0.5))
    assert all(a < b for a, b in itertools.pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(factors[peak:]))


def test_three_steps_of_a_one_shot_run_warm_up_and_come_down():
    assert [optim.lr_factor(s, 3, warmup=0.1, schedule="cosine") for s in range(3)] == pytest.approx([1.0, 0.75, 0.25])
    assert [optim.lr_factor(s, 3, warmup=0.4, schedule="cosine") for s in range(3)] == pytest.approx([0.5, 1.0, 0.5])
    assert [optim.lr_factor(s, 3, warmup=1.0, schedule="cosine") for s in range(3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert optim.lr_factor(0, 1, warmup=1.0, schedule="linear") == 1.0


def test_schedules_equal_torchs_own_after_warm_up():
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=90)
    for step in range(10, 100):
        assert optim.lr_factor(step, 100, warmup=0.1, schedule="cosine") == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        theirs.step()
    assert [optim.lr_factor(s, 10, warmup=0.2, schedule="linear") for s in range(10)] == pytest.approx([1 / 3, 2 / 3] + [1 - i / 8 for i in range(8)])
    assert {optim.lr_factor(s, 10, warmup=0.0, schedule="constant") for s in range(10)} == {1.0}
