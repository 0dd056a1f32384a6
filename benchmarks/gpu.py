"""Claim: on a GPU the loop keeps up with a plain timm or open_clip training loop, and this is the
share of the hardware's arithmetic that it uses.

    python benchmarks/gpu.py --model resnet50 --batch 256 --method supervised
    python benchmarks/gpu.py --model vit_base_patch16_224 --batch 256 --method clip

Cost: a minute or two each. Result: no GPU was at hand; `--device cpu --quick` tries the script out
and measures nothing.

Three things take turns in one process, medians of `--rounds`: *ours*, one call of
headwater.pretrain.pretrain() on decoded uint8 images in memory (copied to the GPU batch by batch,
random views made there); *pure*, its forward, loss, backward, clipping and step on a batch of views
that lies ready; and *plain*, the loop that timm's or open_clip's own script would run
(channels_last, autocast, fused AdamW, cuDNN's autotuner), whose uint8 images lie on the GPU and are
cropped and flipped there, all of a batch alike, so that nothing but training takes its time.

MFU is images/s times FLOPs of an image over the device's peak: 3 x forward (the backward pass
counted as twice the forward one), times the views; for CLIP the text tower's on top, at the context
that each side runs (ours is trimmed to the longest caption, open_clip's is 77).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from arm import Arm, recipe_of
from machine import Spread, facts, facts_line, table
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from headwater import device as device_room
from headwater import keys
from headwater.device import Compute
from headwater.labels import Targets
from headwater.methods import Batch
from headwater.models import architecture
from headwater.sources.pixels import MemoryImages, short_side
from headwater.views import MEAN, STD

PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""Dense bf16 FLOP/s by a part of the device's name, the first that fits: NVIDIA's data sheets,
their figures with sparsity halved [recalled]. The plain H100 is the SXM one ("H100 80GB HBM3"). L4
stands behind L40S, whose name holds it.
"""

TEXT = {"text_width": 512, "text_heads": 8, "text_layers": 12, "embedding": 512}
"""open_clip's text tower for ViT-B."""
SMALL_TEXT = {"text_width": 32, "text_heads": 2, "text_layers": 1, "embedding": 16}
CLASSES = 1000
WORDS = (
    "a",
    "photo",
    "of",
    "the",
    "large",
    "small",
    "red",
    "green",
    "old",
    "bridge",
    "river",
    "dog",
    "house",
    "tree",
    "with",
    "two",
    "people",
    "near",
    "sea",
)


def peak_of(name: str) -> float | None:
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def made_arm(options: argparse.Namespace, compute: Compute) -> Arm:
    """Our side on made images: noise, which costs as much to train on as photos do."""
    rng = np.random.default_rng(0)
    side = short_side(options.size)
    images = MemoryImages(rng.integers(0, 256, (options.images, side, side, 3), dtype=np.uint8))
    words: dict[str, Any] = {"batch": options.batch}
    if options.method == "clip":
        words |= SMALL_TEXT if options.quick else TEXT
    return Arm(
        options.method,
        options.model,
        options.size,
        recipe_of(options.method, **words),
        compute,
        images,
        keys.sample_hashes([str(i) for i in range(options.images)]),
        targets=Targets(
            codes=rng.integers(0, CLASSES, options.images),
            names=tuple(map(str, range(CLASSES))),
            view="level:0",
        ),
        captions=[
            [" ".join(rng.choice(WORDS, rng.integers(6, 20)))] for _ in range(options.images)
        ],
    )


class PlainLoop:
    """The training loop of timm's train.py (supervised; for SimCLR with two views, its head and its
    loss) or of open_clip's (CLIP).
    """

    def __init__(self, arm: Arm) -> None:
        assert isinstance(arm.pixels, MemoryImages)
        self._arm, self._name = arm, architecture(arm.backbone)
        device = arm.compute.device
        self._images = (
            torch.from_numpy(arm.pixels.images).permute(0, 3, 1, 2).contiguous().to(device)
        )
        self._mean, self._std = (
            torch.tensor(v, device=device).view(1, 3, 1, 1) * 255 for v in (MEAN, STD)
        )
        self._targets = torch.from_numpy(arm.targets.indices).to(device) if arm.targets else None
        self._tokens: torch.Tensor | None = None
        self.text: nn.Module | None = None
        self.model = {
            "supervised": self._classifier,
            "simclr": self._projected,
            "clip": self._two_towers,
        }[arm.method]()
        self.model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-4, weight_decay=0.05, fused=True
        )

    def _classifier(self) -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(self._name, num_classes=CLASSES, **self._sized())
        return model

    def _projected(self) -> nn.Module:
        import timm

        recipe = self._arm.recipe
        backbone = timm.create_model(self._name, num_classes=0, **self._sized())
        layers: list[nn.Module] = [backbone]
        width = backbone.num_features
        for _ in range((recipe.head_layers or 3) - 1):
            layers += [
                nn.Linear(width, recipe.head_width or 512, bias=False),
                nn.BatchNorm1d(recipe.head_width or 512),
                nn.ReLU(),
            ]
            width = recipe.head_width or 512
        return nn.Sequential(*layers, nn.Linear(width, recipe.embedding or 128))

    def _two_towers(self) -> nn.Module:
        import open_clip
        from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

        recipe, captions = self._arm.recipe, self._arm.captions
        assert captions and recipe.text_width and recipe.text_heads and recipe.text_layers
        model = CustomTextCLIP(
            recipe.embedding,
            CLIPVisionCfg(
                timm_model_name=self._name, image_size=self._arm.image_size, timm_pool=""
            ),
            CLIPTextCfg(
                width=recipe.text_width, heads=recipe.text_heads, layers=recipe.text_layers
            ),
        )
        self.text = model.text
        self._tokens = open_clip.get_tokenizer("ViT-B-32")([own[0] for own in captions]).to(
            self._arm.compute.device
        )
        return model

    def _sized(self) -> dict[str, int]:
        """A vision transformer has to be told of a size that is not its own."""
        return {"img_size": self._arm.image_size} if "vit" in self._name else {}

    def _views(self, rows: torch.Tensor) -> torch.Tensor:
        """A random crop and flip, one for the whole batch."""
        size, side = self._arm.image_size, self._images.shape[-1]
        top, left = torch.randint(0, side - size + 1, (2,)).tolist()
        x = (
            self._images[rows, :, top : top + size, left : left + size]
            .float()
            .sub(self._mean)
            .div(self._std)
        )
        if torch.rand(()) < 0.5:
            x = x.flip(3)
        return x.contiguous(memory_format=torch.channels_last)

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        if self._arm.method == "simclr":
            return self._nt_xent(self.model(torch.cat([self._views(rows), self._views(rows)])))
        if self._arm.method == "clip":
            from open_clip import ClipLoss

            assert self._tokens is not None
            loss: torch.Tensor = ClipLoss()(*self.model(self._views(rows), self._tokens[rows]))
            return loss
        assert self._targets is not None
        return F.cross_entropy(self.model(self._views(rows)), self._targets[rows])

    def _nt_xent(self, embeddings: torch.Tensor) -> torch.Tensor:
        z = F.normalize(embeddings.float(), dim=1)
        similarity = (z @ z.T / (self._arm.recipe.temperature or 0.1)).fill_diagonal_(float("-inf"))
        b = len(z) // 2
        return F.cross_entropy(similarity, torch.arange(2 * b, device=z.device).roll(b))

    def run(self, steps: int) -> float:
        """Seconds of `steps` steps."""
        arm = self._arm
        began = arm.now()
        for _ in range(steps):
            rows = torch.randint(0, len(self._images), (arm.batch,), device=self._images.device)
            with arm.compute.autocast():
                loss = self._loss(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(float(loss.detach())):
            raise SystemExit("the plain loop diverged, so its speed says nothing")
        return arm.now() - began


def text_flops(text: nn.Module, tokens: torch.Tensor) -> float:
    """FLOPs of one caption's forward pass."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        text(tokens)
    return float(counter.get_total_flops()) / len(tokens)


def flops_of(arm: Arm, plain: PlainLoop) -> dict[str, float]:
    """Training FLOPs of one image, by side."""
    tower = (2 if arm.method == "simclr" else 1) * arm.cost()["flops"]
    ours = theirs = 3 * tower
    if arm.method == "clip":
        assert plain.text is not None and plain._tokens is not None
        model: Any = arm.model().to(arm.compute.device)
        order = arm.order(1)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            batch = Batch(*order.at(0))
            model.encode(
                (
                    torch.zeros(
                        len(batch), 3, arm.image_size, arm.image_size, device=arm.compute.device
                    ),
                ),
                batch,
            )
        ours = 3 * float(counter.get_total_flops()) / len(batch)
        theirs += 3 * text_flops(plain.text, plain._tokens[:2])
    return {"ours": ours, "pure": ours, "plain": theirs}


def measure(
    arm: Arm, plain: PlainLoop, *, steps: int, rounds: int, loader_workers: int
) -> dict[str, list[float]]:
    """Images/s of each, round by round.

    Each runs under the switches of cuDNN that it would have by itself.
    """

    def ours() -> float:
        device_room.be_deterministic()
        return arm.train(steps * arm.batch, loader_workers=loader_workers)[0]

    def pure() -> float:
        device_room.be_deterministic()
        return arm.pure(steps)

    def theirs() -> float:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
        return plain.run(steps)

    runs: dict[str, Callable[[], float]] = {"ours": ours, "pure": pure, "plain": theirs}
    for run in runs.values():
        run()  # kernels are chosen and memory is laid out
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            speeds[name].append(steps * arm.batch / run())
    return speeds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, help="different images (default: four batches)")
    parser.add_argument("--method", choices=("supervised", "clip", "simclr"), default="supervised")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=50, help="of each piece")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loader-workers", type=int, default=2)
    parser.add_argument(
        "--peak",
        type=float,
        help="the device's dense FLOP/s at this precision, where it is not known here",
    )
    parser.add_argument(
        "--quick", action="store_true", help="two steps of one round; measures nothing"
    )
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here", file=sys.stderr)
        raise SystemExit(2)
    if options.device == "cpu":
        torch.set_num_threads(1)  # two beside a busy neighbour are many times slower than one
    if options.quick:
        options.steps, options.rounds, options.batch = 2, 1, min(options.batch, 8)
    options.images = options.images or 4 * options.batch
    compute = Compute(torch.device(options.device), bf16=options.precision == "bf16")
    arm = made_arm(options, compute)
    plain = PlainLoop(arm)
    speeds = measure(
        arm,
        plain,
        steps=options.steps,
        rounds=options.rounds,
        loader_workers=options.loader_workers,
    )
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    peak = options.peak or (peak_of(name) if options.precision == "bf16" else None)
    peak_word = f"{peak:.3g}" if peak else "unknown: give --peak"
    print(f"{facts_line({**facts(), 'device': name, 'peak FLOP/s': peak_word})}\n")
    print(
        f"{options.model}, {options.size} px, {options.method}, batch {arm.batch}, "
        f"{options.precision}, {options.steps} steps a piece\n"
    )
    print(report(speeds, flops_of(arm, plain), peak))
    if options.device == "cuda":
        print(
            "\nMost memory held at once, all three together: "
            f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        )


def ratio_to(base: list[float], values: list[float]) -> Spread:
    """The spread of each round's value over that of the base."""
    return Spread.of([value / other for other, value in zip(base, values, strict=True)])


def report(speeds: dict[str, list[float]], flops: dict[str, float], peak: float | None) -> str:
    """One row each for ours, pure and plain."""
    rows = []
    for name, values in speeds.items():
        speed = Spread.of(values)
        mfu = f"{100 * speed.median * flops[name] / peak:.1f} %" if peak else "peak unknown"
        rows.append(
            [
                name,
                speed.text(0),
                ratio_to(speeds["plain"], values).text(),
                ratio_to(speeds["pure"], values).text(),
                f"{flops[name] / 1e9:.1f}",
                mfu,
            ]
        )
    return table(
        ["what", "images/s (range)", "over plain", "over pure", "GFLOPs an image", "MFU"], rows
    )


if __name__ == "__main__":
    main()
