"""Optimiser steps against the formulas written by hand, and schedules against their promises."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from headwater import checkpoint, optim
from tests.toy import same_bits, state
from tests.two_ranks import start

SCHEDULES = ("cosine", "linear", "constant")


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
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
            w[name] = w[name] - lr * (m[name] / (1 - 0.8**t)) / (
                (v[name] / (1 - 0.95**t)).sqrt() + 1e-8
            )
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
            velocity[name] = (
                momentum * velocity[name] + p.grad.double() + (0.1 * w[name] if p.ndim > 1 else 0)
            )
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
    theirs = (
        torch.optim.AdamW(groups, lr=0.02, foreach=False)
        if name == "adamw"
        else torch.optim.SGD(groups, lr=0.02, momentum=0.9, foreach=False)
    )
    for t in range(5):
        loss_of(fused, t).backward()
        for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
            # The same gradient, since Adam magnifies rounding where a gradient is zero (a bias
            # before a batch norm)
            b.grad = a.grad.clone()
        optim.step(ours, fused, clip_norm=None)
        theirs.step()
    for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_only_matrices_and_kernels_decay_and_frozen_parameters_stay(name):
    net = small_net()
    net[5].weight.requires_grad_(False)
    before = copy.deepcopy(dict(net.named_parameters()))
    optimiser = optim.build(net, name=name, lr=0.1, weight_decay=0.5, momentum=0.0)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optim.step(optimiser, net, clip_norm=None)
    shrunk = (
        1 - 0.1 * optim.TRUST if name == "lars" else 0.95
    )  # the direction is the weight itself, of which LARS takes its share
    for parameter, p in net.named_parameters():
        torch.testing.assert_close(
            p, before[parameter] * (shrunk if parameter == "0.weight" else 1.0)
        )


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
def test_every_schedule_reaches_the_base_rate_and_never_stops_before_the_end(
    steps, warmup, schedule
):
    factors = [
        optim.lr_factor(step, steps, warmup=warmup, schedule=schedule) for step in range(steps)
    ]
    assert max(factors) == 1.0
    assert min(factors) > 0
    peak = factors.index(1.0)
    assert peak <= max(0, min(steps - 1, warmup * steps + 0.5))
    assert all(a < b for a, b in itertools.pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(factors[peak:]))


def test_three_steps_of_a_one_shot_run_warm_up_and_come_down():
    assert [
        optim.lr_factor(s, 3, warmup=0.1, schedule="cosine") for s in range(3)
    ] == pytest.approx([1.0, 0.75, 0.25])
    assert [
        optim.lr_factor(s, 3, warmup=0.4, schedule="cosine") for s in range(3)
    ] == pytest.approx([0.5, 1.0, 0.5])
    assert [
        optim.lr_factor(s, 3, warmup=1.0, schedule="cosine") for s in range(3)
    ] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert optim.lr_factor(0, 1, warmup=1.0, schedule="linear") == 1.0


def test_schedules_equal_torchs_own_after_warm_up():
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=90)
    for step in range(10, 100):
        assert optim.lr_factor(step, 100, warmup=0.1, schedule="cosine") == pytest.approx(
            optimiser.param_groups[0]["lr"], abs=1e-9
        )
        optimiser.step()
        theirs.step()
    assert [
        optim.lr_factor(s, 10, warmup=0.2, schedule="linear") for s in range(10)
    ] == pytest.approx([1 / 3, 2 / 3] + [1 - i / 8 for i in range(8)])
    assert {optim.lr_factor(s, 10, warmup=0.0, schedule="constant") for s in range(10)} == {1.0}


# LARS
def simclr_step(
    w: np.ndarray, v: np.ndarray, g: np.ndarray, *, lr: float, decay: float, adapt: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(weight, momentum) after a step of google-research/simclr's lars_optimizer.py (classic
    momentum, no Nesterov), read line by line.
    """
    grad = g + decay * w
    trust_ratio = 1.0
    if adapt:
        w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((grad**2).sum())
        trust_ratio = 0.001 * w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0
    next_v = 0.9 * v + lr * trust_ratio * grad
    return w - next_v, next_v


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_lars_equals_simclrs_published_code_while_the_rate_changes(decay):
    net = small_net()
    ours = optim.build(net, name="lars", lr=1.0, weight_decay=decay)
    w = {name: p.detach().double().numpy().copy() for name, p in net.named_parameters()}
    v = {name: np.zeros_like(a) for name, a in w.items()}
    for t in range(1, 7):
        lr = 0.3 * t
        optim.set_lr(ours, lr)
        loss_of(net, t).backward()
        for name, p in net.named_parameters():
            matrix = p.ndim > 1
            w[name], v[name] = simclr_step(
                w[name],
                v[name],
                p.grad.double().numpy(),
                lr=lr,
                decay=decay if matrix else 0.0,
                adapt=matrix,
            )
        optim.step(ours, net, clip_norm=None)
        for name, p in net.named_parameters():
            torch.testing.assert_close(
                p.detach().double(), torch.from_numpy(np.asarray(w[name])), atol=2e-6, rtol=1e-5
            )


def test_lars_equals_timms_where_the_two_definitions_meet():
    """At one rate and without weight decay: the norm of the sum is then the sum of norms, and the
    place of the rate does not matter.
    """
    import timm.optim  # here, as the two ranks below import this file again

    one, other = small_net(), small_net()
    ours = optim.build(one, name="lars", lr=0.7, weight_decay=0.0)
    groups = [
        {"params": [p for p in other.parameters() if p.ndim > 1], "always_adapt": True},
        {"params": [p for p in other.parameters() if p.ndim <= 1]},
    ]
    theirs = timm.optim.Lars(groups, lr=0.7, momentum=0.9, eps=0.0)
    for t in range(6):
        loss_of(one, t).backward()
        loss_of(other, t).backward()
        optim.step(ours, one, clip_norm=None)
        theirs.step()
        theirs.zero_grad()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


def test_a_step_of_lars_has_the_length_of_its_share_of_the_weight_whatever_the_gradient():
    for scale in (1e-6, 1.0, 1e6):
        net = nn.Linear(8, 4, bias=False)
        before = net.weight.detach().clone()
        net.weight.grad = scale * torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        optim.step(optim.build(net, name="lars", lr=2.0, weight_decay=0.0), net, clip_norm=None)
        assert float((net.weight.detach() - before).norm() / before.norm()) == pytest.approx(
            2.0 * optim.TRUST, rel=1e-3
        )


def test_lars_takes_a_plain_step_from_zero_and_none_without_a_gradient():
    net = nn.Linear(3, 2)
    nn.init.zeros_(net.weight)
    optimiser = optim.build(net, name="lars", lr=0.5, weight_decay=0.1)
    net.weight.grad = torch.ones(2, 3)
    bias = net.bias.detach().clone()
    optim.step(optimiser, net, clip_norm=None)
    torch.testing.assert_close(net.weight.detach(), torch.full((2, 3), -0.5))
    assert torch.equal(net.bias, bias)


def test_lars_calls_a_closure_as_torchs_optimisers_do():
    net = small_net()
    optimiser = optim.build(net, name="lars", lr=0.1, weight_decay=0.0)

    def closure():
        loss = loss_of(net, 0)
        loss.backward()
        return loss

    assert optimiser.step(closure).requires_grad
    assert optimiser.step() is None


def test_lars_goes_on_from_a_checkpoint_bit_by_bit(tmp_path):
    whole, cut = small_net(), small_net()
    a, b = (optim.build(net, name="lars", lr=0.5, weight_decay=0.1) for net in (whole, cut))
    for t in range(6):
        if t == 3:
            checkpoint.write(tmp_path, t, checkpoint.pack_optimiser(b), {})
            _, tensors, _ = checkpoint.latest(tmp_path)
            assert [name.split(".", 2)[2] for name in tensors] == ["momentum_buffer"] * len(
                list(cut.parameters())
            )
            b = optim.build(cut, name="lars", lr=0.5, weight_decay=0.1)
            checkpoint.unpack_optimiser(b, tensors)
        for net, optimiser in ((whole, a), (cut, b)):
            loss_of(net, t).backward()
            optim.step(optimiser, net, clip_norm=1.0)
    assert same_bits(state(whole), state(cut))


def test_an_optimiser_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="adamw, sgd, lars"):
        optim.build(small_net(), name="lion", lr=1.0, weight_decay=0.0)


# the norm of the gradient
def test_the_norm_before_clipping_is_told_and_none_where_nothing_is_clipped():
    net = small_net()
    optimiser = optim.build(net, name="sgd", lr=0.1, weight_decay=0.0)
    loss_of(net, 0).backward()
    by_hand = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in net.parameters()))
    told = optim.step(optimiser, net, clip_norm=1e-3)
    assert told.shape == ()
    assert told.dtype == torch.float32
    assert float(told) == pytest.approx(by_hand, rel=1e-5)
    loss_of(net, 1).backward()
    assert optim.step(optimiser, net, clip_norm=None) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_shows_in_the_norm(bad):
    net = small_net()
    loss_of(net, 0).backward()
    net[0].weight.grad[0, 0, 0, 0] = bad
    told = optim.step(optim.build(net, name="adamw", lr=0.1, weight_decay=0.0), net, clip_norm=1.0)
    assert not math.isfinite(float(told))


# the average of weights
@pytest.mark.parametrize("decay", [0.2, 0.9, 0.9999])
def test_the_average_is_the_closed_form_and_holds_nothing_of_the_start(decay):
    net = small_net()
    seen: dict[str, list[torch.Tensor]] = {name: [] for name, _ in net.named_parameters()}
    average = optim.Ema(net, decay)
    optimiser = optim.build(net, name="sgd", lr=0.5, weight_decay=0.0)
    for t in range(1, 9):
        loss_of(net, t).backward()
        optim.step(optimiser, net, clip_norm=None)
        average.update()
        for name, p in net.named_parameters():
            seen[name].append(p.detach().double().clone())
        share = torch.tensor([decay ** (t - i) for i in range(1, t + 1)], dtype=torch.float64)
        for name, all_weights in seen.items():
            expected = torch.tensordot(share / share.sum(), torch.stack(all_weights), 1)
            torch.testing.assert_close(
                average.weights()[name].double(), expected, atol=1e-6, rtol=1e-5
            )


def test_the_average_without_its_correction_is_torchs():
    """torch starts at the first weights it is shown with share 1, which is d^(t-1) after t; ours
    gives them what any other step has.
    """
    net, decay, steps = small_net(), 0.8, 6
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average = optim.Ema(net, decay)
    first = None
    for t in range(steps):
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * t + i)))
        theirs.update_parameters(net)
        average.update()
        first = first or state(net)
    for name, p in theirs.module.named_parameters():
        ours = average.weights()[name] * (1 - decay**steps)
        torch.testing.assert_close(
            ours + first[name] * (decay ** (steps - 1) - (1 - decay) * decay ** (steps - 1)),
            p,
            atol=1e-6,
            rtol=1e-5,
        )


def test_the_average_of_a_single_step_is_that_step_bit_by_bit_and_buffers_are_copied():
    net = small_net()
    average = optim.Ema(net, 0.999)
    assert same_bits(average.weights(), state(net))
    loss_of(net, 0).backward()
    optim.step(optim.build(net, name="sgd", lr=0.5, weight_decay=0.0), net, clip_norm=None)
    average.update()
    assert same_bits(average.weights(), state(net))
    for t in range(3):
        loss_of(net, t)
    average.update()
    assert int(average.weights()["1.num_batches_tracked"]) == 4
    assert torch.equal(average.weights()["1.running_mean"], net[1].running_mean)


def test_the_average_does_not_follow_the_weights_until_it_is_told_and_loads_into_a_module():
    net = small_net()
    average = optim.Ema(net, 0.5)
    with torch.no_grad():
        net[0].weight.zero_()
    other = small_net()
    other.load_state_dict(average.weights())
    assert float(other[0].weight.detach().norm()) > 0


def test_the_average_goes_on_from_a_checkpoint_bit_by_bit(tmp_path):
    net = small_net().to(memory_format=torch.channels_last)
    whole, cut = optim.Ema(net, 0.9), optim.Ema(net, 0.9)
    for t in range(6):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(t)))
        if t == 3:
            checkpoint.write(tmp_path, t, cut.state_dict(), {})
            cut = optim.Ema(net, 0.9)
            _, tensors, _ = checkpoint.latest(tmp_path)
            cut.load_state_dict(tensors)
        whole.update()
        cut.update()
    assert same_bits(whole.state_dict(), cut.state_dict())


def test_tensors_that_two_names_share_are_averaged_once():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    average = optim.Ema(net, 0.5)
    for value in (1.0, 4.0):
        nn.init.constant_(net[0].weight, value)
        average.update()
    assert torch.equal(
        average.weights()["0.weight"], torch.full((3, 3), 3.0)
    )  # (0.5 * 1 + 4) / 1.5
    assert torch.equal(average.weights()["0.weight"], average.weights()["1.weight"])


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, math.nan])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match="between 0 and 1"):
        optim.Ema(small_net(), decay)


def _sharded(rank: int, path: str) -> None:
    """One of two processes: LARS, clipping and the average on a net that both hold whole, and on
    one that is sharded over them.
    """
    torch.set_num_threads(1)
    ranks = 2
    dist.init_process_group("gloo", store=dist.FileStore(path, ranks), rank=rank, world_size=ranks)
    whole, parts = small_net(), small_net()
    del whole.temperature, parts.temperature  # FSDP shards no scalar
    fully_shard(parts, mesh=init_device_mesh("cpu", (ranks,)))
    optimisers = [optim.build(net, name="lars", lr=0.5, weight_decay=0.1) for net in (whole, parts)]
    averages = [optim.Ema(net, 0.9) for net in (whole, parts)]
    for t in range(4):
        norms = []
        for net, optimiser, average in zip((whole, parts), optimisers, averages, strict=True):
            net(
                torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(t))
            ).square().mean().backward()
            optim.set_lr(optimiser, 0.5 / (t + 1))
            norms.append(optim.step(optimiser, net, clip_norm=0.1))
            average.update()
        assert type(norms[1]) is torch.Tensor
        torch.testing.assert_close(norms[1], norms[0])
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert b.to_local().numel() < a.numel()
        torch.testing.assert_close(b.full_tensor(), a)
    for (name, a), b in zip(
        averages[0].weights().items(), averages[1].weights().values(), strict=True
    ):
        torch.testing.assert_close(b.full_tensor() if hasattr(b, "full_tensor") else b, a, msg=name)
    dist.destroy_process_group()


@pytest.mark.slow
def test_lars_clipping_and_the_average_see_whole_tensors_where_each_of_two_ranks_holds_a_part(
    tmp_path,
):
    start(_sharded, str(tmp_path / "store"))
