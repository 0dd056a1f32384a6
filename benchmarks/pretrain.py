"""Claims: pre-training runs at the speed of its computation, and faster than the scripts that one
would write with lightly, timm and open_clip.

    python benchmarks/pretrain.py --ratio
        images/s of a run end to end over those of forward, backward and step alone
    python benchmarks/pretrain.py --peers
        whole epochs beside the peers' (pip install 'headwater[bench]'), each with its best settings
    python benchmarks/pretrain.py --compile
        forward, backward and step alone, with the encoder compiled (torch.compile) and as it is
    python benchmarks/pretrain.py --all
        the first two, and two arms at once, as studies run on two cores

Cost: about 12 minutes each on 2 cores; of the third, 3 with `--models tiny --sizes 32 --rounds 7`.
Needs HEADWATER_DATA (grocery, caltech101, ucm_captions); `--quick` needs nothing and
measures nothing. Results: benchmarks/results.md.

What is compared. *End to end* is one call of headwater.pretrain.pretrain() on decoded images in
memory, from call to return, with its loader, views, bookkeeping and checks. *Pure* is the same
model, optimiser, precision and batch in the same process: forward, loss, backward, clipping and
step, on one batch of views that lies ready (for CLIP with the captions of the run's own batches,
the text tower included). The two alternate; the ratio is taken in each round. Peers run in a
process of their own that idles while ours has its turn, under the same environment (our allocator's
settings too), on the same files, batch and encoder (checked: parameters and FLOPs). A peer decodes
in every epoch, as these scripts do; ours decodes once, which is timed apart and stands in "first
epoch". Peers drop the last, incomplete batch; rates are per image trained on. Their loader workers,
torch threads and memory format are tried first, and the fastest are kept; ours is tried with 0, 1
and 2 loader workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import photos
from machine import Child, Spread, children, facts, facts_line, load, met, table

METHODS = ("supervised", "clip", "simclr")
PEERS = {
    "supervised": "peers/supervised_timm.py",
    "clip": "peers/clip_open_clip.py",
    "simclr": "peers/simclr_lightly.py",
}
BATCHES = {("resnet18", 32): 64, ("resnet18", 64): 32}
"""Where the recipe's batch would make a piece too long; else the recipe's own."""
PEER_BATCHES = {"supervised": 128, "clip": 128, "simclr": 256}
EPOCHS = {"supervised": 1, "clip": 2, "simclr": 1}
"""Epochs of a run beside the peers: enough steps for the loss to fall, short enough for five
rounds.
"""
WANTED_RATIO = {
    "tiny": {"supervised": 0.90, "clip": 0.90, "simclr": 0.80},
    "resnet18": dict.fromkeys(METHODS, 0.95),
}
WANTED_PEERS = {"supervised": 1.3, "clip": 1.3, "simclr": 2.0}
PEER_ROUNDS = 5
"""Turns beside a peer, at most: each is four whole runs."""
LEAST_STEPS = 12
"""A run shorter than this would mostly measure how it starts."""
PARTS = ("gather", "views", "compute", "other")
"""Where the time of a step goes when one thread does it all: copying the batch's pixels, their
views, what *pure* counts, and the rest of the loop.
"""


SWEEP_STEPS = 3
"""Batches of an epoch by which the peer's settings are told apart; twice as many in the final."""


def say(*words: object) -> None:
    """Where the benchmark is, for who waits; the results alone go to stdout."""
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


# our side, in a process of its own
def serve_arm(words: dict[str, Any]) -> None:
    """Answers requests about one method around one backbone: about, train, pure, parts."""
    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    import numpy as np
    import torch
    from arm import Arm, recipe_of
    from session import serve

    from headwater import device, keys
    from headwater.device import Compute
    from headwater.labels import Targets
    from headwater.sources.pixels import PixelCache

    torch.set_num_threads(1)
    device.be_deterministic()
    listing = photos.Listing.read(words["listing"])
    source = photos.PhotoFiles(listing)
    began = time.perf_counter()
    positions = np.arange(len(listing))
    fingerprint = source.fingerprint(positions)
    pixels = PixelCache.build(
        source, positions, words["image_size"], Path(words["cache"]), fingerprint=fingerprint
    )
    decode_s = time.perf_counter() - began

    def arm(bf16: bool) -> Arm:
        return Arm(
            words["method"],
            words["backbone"],
            words["image_size"],
            recipe_of(words["method"], **({"batch": words["batch"]} if words["batch"] else {})),
            Compute(torch.device("cpu"), bf16=bf16),
            pixels,
            keys.sample_hashes(listing.files),
            targets=Targets(
                codes=np.array(listing.labels),
                names=tuple(str(i) for i in range(listing.num_classes)),
                view="level:0",
            ),
            captions=listing.captions,
        )

    arms = {bf16: arm(bf16) for bf16 in (False, True)}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        own = arms[request.get("bf16", True)]
        if request["do"] == "about":
            return {"decode_s": decode_s, "images": len(listing), "batch": own.batch, **own.cost()}
        if request["do"] == "train":
            seconds, losses = own.train(request["images"], loader_workers=request["loader_workers"])
            return {"seconds": seconds, "images": request["images"], "losses": losses}
        if request["do"] == "pure":
            return {
                "seconds": own.pure(
                    request["steps"], warm=request.get("warm", 2), kept=request.get("kept")
                ),
                "images": request["steps"] * own.batch,
            }
        return own.parts(request["steps"])

    serve(answer)


def our_child(
    method: str, backbone: str, image_size: int, batch: int | None, listing: Path
) -> Child:
    cache = listing.with_name(f"{listing.stem}-{image_size}")
    words = {
        "method": method,
        "backbone": backbone,
        "image_size": image_size,
        "batch": batch,
        "listing": str(listing),
        "cache": str(cache),
    }
    return Child("pretrain.py", "--one", json.dumps(words), threads=1)


def together(ours: Sequence[Child], **request: Any) -> float:
    """Images/s of one or several processes that do the same at once."""
    for child in ours:
        child.send(**request)
    answers = [child.answer() for child in ours]
    return sum(answer["images"] / answer["seconds"] for answer in answers)


# end to end over pure compute
def measure_ratio(
    method: str,
    backbone: str,
    image_size: int,
    listing: Path,
    options: argparse.Namespace,
    workers: int,
) -> dict[str, Any]:
    batch = 16 if options.quick else BATCHES.get((backbone, image_size))
    begun = [our_child(method, backbone, image_size, batch, listing) for _ in range(workers)]
    with children(*begun) as ours:
        about = ours[0].ask(do="about")
        say(method, backbone, image_size, "px,", workers, "processes")
        pace = together(ours, do="pure", steps=3) / workers
        steps = (
            2 if options.quick else max(LEAST_STEPS, round(options.seconds * pace / about["batch"]))
        )
        loop = {
            "do": "train",
            "images": steps * about["batch"],
            "loader_workers": options.loader_workers,
        }
        together(
            ours, **{**loop, "images": 2 * about["batch"]}
        )  # what is done once in a process is no part of a step
        pure, whole, parts, loads = [], [], [], []
        for _ in range(options.rounds):
            pure.append(together(ours, do="pure", steps=steps))
            whole.append(together(ours, **loop))
            if workers == 1:
                parts.append(ours[0].ask(do="parts", steps=max(2, steps // 3)))
            loads.append(load())
    ratios = [b / a for a, b in zip(pure, whole, strict=True)]
    return {
        "method": method,
        "backbone": backbone,
        "image_size": image_size,
        "batch": about["batch"],
        "workers": workers,
        "loader_workers": options.loader_workers,
        "steps": steps,
        "wanted": workers == 1 and not options.quick,
        "pure": pure,
        "end_to_end": whole,
        "ratio": ratios,
        "parts_ms": parts,
        "load": loads,
    }


def medians_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median over rounds of each part of a step and of the whole; nothing without rounds."""
    if not rounds:
        return {}
    medians = {}
    for name in (*PARTS, "whole"):
        medians[name] = Spread.of([parts[name] for parts in rounds]).median
    return medians


def ratio_table(found: list[dict[str, Any]]) -> str:
    rows = []
    for one in found:
        ratio = Spread.of(one["ratio"])
        wanted = (
            met(ratio.median, WANTED_RATIO[one["backbone"]][one["method"]]) if one["wanted"] else ""
        )
        parts = medians_of(one["parts_ms"])
        rows.append(
            [
                f"{one['backbone']}, {one['image_size']} px",
                one["method"],
                f"{one['batch']}",
                f"{one['workers']}",
                f"{Spread.of(one['pure']).median:.0f}",
                f"{Spread.of(one['end_to_end']).median:.0f}",
                ratio.text(),
                wanted,
                f"{' + '.join(f'{name} {parts[name]:.1f}' for name in PARTS)}; together "
                f"{parts['whole']:.1f}"
                if parts
                else "",
                f"{max(one['load']):.1f}",
            ]
        )
    head = [
        "model",
        "method",
        "batch",
        "processes",
        "pure images/s",
        "end to end",
        "ratio (range)",
        "wanted",
        "ms of a step in one thread",
        "load",
    ]
    return table(head, rows)


# torch.compile
def measure_compiled(
    method: str, backbone: str, image_size: int, listing: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Pure compute with the encoder compiled and as it is, in turns; `first_s`: seconds of the
    first two compiled steps, which compile.
    """
    batch = 16 if options.quick else BATCHES.get((backbone, image_size))
    with children(our_child(method, backbone, image_size, batch, listing)) as (ours,):
        say(method, backbone, image_size, "px, compiled")
        about = ours.ask(do="about")
        pace = together([ours], do="pure", steps=3, kept="eager")
        steps = (
            2 if options.quick else max(LEAST_STEPS, round(options.seconds * pace / about["batch"]))
        )
        first_s = ours.ask(do="pure", steps=2, warm=0, kept="compiled")["seconds"]
        speeds: dict[str, list[float]] = {"eager": [], "compiled": []}
        for _ in range(options.rounds):
            for kept, found in speeds.items():
                found.append(together([ours], do="pure", steps=steps, kept=kept))
        return {
            "method": method,
            "backbone": backbone,
            "image_size": image_size,
            "batch": about["batch"],
            "first_s": first_s,
            "load": load(),
            **speeds,
        }


def compiled_table(found: list[dict[str, Any]]) -> str:
    rows = []
    for one in found:
        ratio = Spread.of([b / a for a, b in zip(one["eager"], one["compiled"], strict=True)])
        speeds = [f"{Spread.of(one[kept]).median:.0f}" for kept in ("eager", "compiled")]
        name = f"{one['backbone']}, {one['image_size']} px"
        rows.append(
            [
                name,
                one["method"],
                f"{one['batch']}",
                *speeds,
                ratio.text(),
                f"{one['first_s']:.0f}",
                f"{one['load']:.1f}",
            ]
        )
    return table(
        [
            "model",
            "method",
            "batch",
            "images/s",
            "compiled",
            "ratio (range)",
            "first two steps, s",
            "load",
        ],
        rows,
    )


# whole epochs beside the peers
def fastest(
    child: Child, settings: Sequence[dict[str, Any]], listing: Path, images: int, *, epochs: int
) -> list[tuple[float, dict[str, Any]]]:
    """(images/s, setting) of each, the fastest first; the best epoch over some of the images."""
    found = []
    for setting in settings:
        answer = child.ask(listing=str(listing), images=images, epochs=epochs, **setting)
        found.append((answer["images"] / min(answer["seconds"]), setting))
    return sorted(found, key=lambda one: -one[0])


def best_settings(
    child: Child, base: dict[str, Any], listing: Path, *, quick: bool
) -> dict[bool, dict[str, Any]]:
    """The peer's fastest setting at fp32 and at bf16.

    Each number of loader workers is tried with one and with two torch threads; the better of the
    two runs for longer against those of the other numbers of workers (its second epoch counts too,
    since the first starts the workers), and what wins is tried without channels_last.
    """
    loader_workers, torch_threads = ((0,), (1,)) if quick else ((0, 1, 2), (1, 2))
    short, long = SWEEP_STEPS * base["batch"], 2 * SWEEP_STEPS * base["batch"]
    chosen = {}
    for bf16 in (False, True):
        finalists = []
        for workers in loader_workers:
            setting = {**base, "bf16": bf16, "workers": workers, "channels_last": True}
            group = [{**setting, "threads": threads} for threads in torch_threads]
            finalists.append(fastest(child, group, listing, short, epochs=1)[0][1])
        best = fastest(child, finalists, listing, long, epochs=2)[0]
        plain = fastest(child, [{**best[1], "channels_last": False}], listing, long, epochs=2)[0]
        chosen[bf16] = max(best, plain, key=lambda one: one[0])[1]
    return chosen


def our_workers(child: Child, images: int, *, quick: bool) -> dict[bool, int]:
    """Our fastest number of loader workers at fp32 and at bf16."""
    if quick:
        return {False: 0, True: 0}

    def fastest_at(bf16: bool) -> int:
        return max(
            (0, 1, 2),
            key=lambda n: together([child], do="train", images=images, bf16=bf16, loader_workers=n),
        )

    return {bf16: fastest_at(bf16) for bf16 in (False, True)}


def measure_peer(method: str, listing: Path, options: argparse.Namespace) -> dict[str, Any]:
    epochs, batch = (1, 16) if options.quick else (EPOCHS[method], PEER_BATCHES[method])
    begun = (our_child(method, "tiny", 32, batch, listing), Child(PEERS[method], "--serve"))
    say(method, "beside its peer: trying its settings")
    with children(*begun) as (ours, peer):
        about = ours.ask(do="about")
        base = {
            "batch": batch,
            "image_size": 32,
            **({"context": options.context} if method == "clip" else {}),
        }
        settings = best_settings(peer, base, listing, quick=options.quick)
        loaders = our_workers(ours, 8 * batch, quick=options.quick)
        rounds: dict[str, list[dict[str, Any]]] = {}
        loads = []
        say(method, "the peer's settings:", settings, "our loader workers:", loaders)
        turns = min(options.rounds, PEER_ROUNDS)
        for number in range(turns):
            say(method, "round", number + 1, "of", turns)
            for bf16, name in ((False, "fp32"), (True, "bf16")):
                mine = ours.ask(
                    do="train",
                    images=epochs * about["images"],
                    bf16=bf16,
                    loader_workers=loaders[bf16],
                )
                theirs = peer.ask(listing=str(listing), epochs=epochs, **settings[bf16])
                for key in ("parameters", "flops"):
                    if theirs[key] != about[key]:
                        raise SystemExit(
                            f"{method}: the encoders differ ({key} {about[key]:.0f}, the peer's "
                            f"{theirs[key]:.0f}), so their speeds say nothing"
                        )
                rounds.setdefault(f"ours {name}", []).append(
                    _rate(mine, mine["images"], mine["seconds"])
                )
                rounds.setdefault(f"peer {name}", []).append(
                    _rate(theirs, epochs * theirs["images"], sum(theirs["seconds"]))
                )
            loads.append(load())
    return {
        "method": method,
        "batch": batch,
        "epochs": epochs,
        "images": about["images"],
        "decode_s": about["decode_s"],
        "wanted": not options.quick,
        "peer_settings": {"fp32": settings[False], "bf16": settings[True]},
        "our_loader_workers": {"fp32": loaders[False], "bf16": loaders[True]},
        "rounds": rounds,
        "load": loads,
    }


def _rate(answer: dict[str, Any], images: int, seconds: float) -> dict[str, Any]:
    losses = answer["losses"]
    tail = max(1, len(losses) // 10)
    return {
        "images_per_s": images / seconds,
        "first_loss": losses[0],
        "last_loss": sum(losses[-tail:]) / tail,
    }


def peers_table(found: list[dict[str, Any]]) -> str:
    rows, notes = [], []
    for one in found:
        speeds = {}
        for name, rounds in one["rounds"].items():
            speeds[name] = [measured["images_per_s"] for measured in rounds]
        medians = {name: Spread.of(values).median for name, values in speeds.items()}
        best = {
            side: max((f"{side} fp32", f"{side} bf16"), key=medians.__getitem__)
            for side in ("ours", "peer")
        }
        for what, mine, theirs in (
            ("fp32", "ours fp32", "peer fp32"),
            ("bf16", "ours bf16", "peer bf16"),
            ("best of each", best["ours"], best["peer"]),
        ):
            ratio = Spread.of([a / b for a, b in zip(speeds[mine], speeds[theirs], strict=True)])
            first = one["images"] / (one["decode_s"] + one["images"] / medians[mine])
            name = (
                what if what != "best of each" else f"best: {mine.split()[1]}, {theirs.split()[1]}"
            )
            rows.append(
                [
                    one["method"],
                    name,
                    f"{medians[mine]:.0f}",
                    f"{medians[theirs]:.0f}",
                    ratio.text(),
                    met(ratio.median, WANTED_PEERS[one["method"]]) if one["wanted"] else "",
                    f"{first:.0f}",
                    _losses(one["rounds"][mine]),
                    _losses(one["rounds"][theirs]),
                    f"{max(one['load']):.1f}",
                ]
            )
        for precision, setting in one["peer_settings"].items():
            context = f", a context of {setting['context']} tokens" if "context" in setting else ""
            notes.append(
                f"- {one['method']}, {precision}: the peer with {setting['workers']} loader "
                f"workers, {setting['threads']} torch threads"
                f"{', channels_last' if setting.get('channels_last') else ''}"
                f"{context}; "
                f"ours with {one['our_loader_workers'][precision]} loader workers, 1 thread"
            )
        notes.append(
            f"- {one['method']}: {one['epochs']} epochs of {one['images']} images, batch "
            f"{one['batch']}; decoded once in {one['decode_s']:.1f} s"
        )
    head = [
        "method",
        "precision",
        "ours images/s",
        "peer",
        "ratio (range)",
        "wanted",
        "our first epoch",
        "our loss",
        "peer's loss",
        "load",
    ]
    return table(head, rows) + "\n\n" + "\n".join(notes)


def _losses(rounds: list[dict[str, Any]]) -> str:
    return (
        f"{Spread.of([r['first_loss'] for r in rounds]).median:.2f} to "
        f"{Spread.of([r['last_loss'] for r in rounds]).median:.2f}"
    )


# the command
def listings(folder: Path, *, quick: bool) -> dict[str, Path]:
    """The images of each method, as a file that both sides read."""
    if quick:
        one = photos.made(folder, 64).write(folder / "made.json")
        return dict.fromkeys(METHODS, one)
    root = os.environ.get("HEADWATER_DATA")
    if not root:
        raise SystemExit(
            "HEADWATER_DATA is not set: the photos are not here (docs/data.md says where they come "
            "from); --quick runs without"
        )
    some, captioned = (
        photos.of_method("supervised", Path(root)),
        photos.of_method("clip", Path(root)),
    )
    print(f"Photos: {photos.about(some)}; for CLIP {photos.about(captioned)}.\n")
    files = {
        name: listing.write(folder / f"{name}.json")
        for name, listing in (("photos", some), ("captioned", captioned))
    }
    return {"supervised": files["photos"], "simclr": files["photos"], "clip": files["captioned"]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ratio", action="store_true", help="end to end over pure compute")
    parser.add_argument("--peers", action="store_true", help="whole epochs beside the peers'")
    parser.add_argument("--compile", action="store_true", help="torch.compile against none")
    parser.add_argument(
        "--all", action="store_true", help="--ratio and --peers, and two arms at once"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that train at once, for --ratio; studies run one per core",
    )
    parser.add_argument("--loader-workers", type=int, default=1, help="of our loop, for --ratio")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--models", nargs="+", choices=("tiny", "resnet18"), default=("tiny", "resnet18")
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=(32, 64))
    parser.add_argument(
        "--rounds", type=int, default=15, help="turns; this kind of machine is too noisy for five"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="about how long each piece of --ratio takes"
    )
    parser.add_argument(
        "--context",
        type=int,
        default=77,
        help="tokens that open_clip's text tower reads, for --peers",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tries the benchmark out on a few made images; measures nothing",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="everything that was measured, round by round"
    )
    parser.add_argument("--one", metavar="SPEC", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        serve_arm(json.loads(options.one))
        return
    if not (options.ratio or options.peers or options.compile or options.all):
        parser.error("say what: --ratio, --peers, --compile or --all")
    if options.quick:
        options.rounds = 1
    began = time.monotonic()
    found: dict[str, Any] = {"facts": facts()}
    print(f"{facts_line(found['facts'])}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = listings(Path(folder), quick=options.quick)
        if options.ratio or options.all:
            cells = list(itertools.product(options.sizes, options.models, options.methods))
            found["ratio"] = [
                measure_ratio(method, model, size, files[method], options, options.workers)
                for size, model, method in cells
            ]
            print(ratio_table(found["ratio"]) + "\n", flush=True)
        if options.compile:
            cells = list(itertools.product(options.sizes, options.models, options.methods))
            found["compiled"] = [
                measure_compiled(method, model, size, files[method], options)
                for size, model, method in cells
            ]
            print(compiled_table(found["compiled"]) + "\n", flush=True)
        if options.all and options.workers == 1:
            found["two at once"] = [
                measure_ratio(method, "tiny", 32, files[method], options, 2)
                for method in options.methods
            ]
            print(ratio_table(found["two at once"]) + "\n", flush=True)
        if options.peers or options.all:
            found["peers"] = [
                measure_peer(method, files[method], options) for method in options.methods
            ]
            print(peers_table(found["peers"]) + "\n", flush=True)
    print(f"Load at the end {load():.2f}; {(time.monotonic() - began) / 60:.1f} minutes.")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
