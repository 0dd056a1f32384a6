"""Several processes on one arm: DDP, or FSDP for models that do not fit in one, under torchrun.

    torchrun --nproc-per-node 8 -m headwater.engines.ranks STUDY [--store DIR] [--data-root DIR]
    [--device auto|cpu|cuda] [--fsdp]

trains the arms that the store lacks, one after another, each by all processes together; then
`headwater run STUDY` measures them. The batch, the order of its images and their views are those of
one process. What has no batch normalisation ends with the same weights but for rounding; batch
normalisation (of an encoder, or of SimCLR's head) sees the part of each process, so such arms
differ by nature, and rows say on how many ranks an arm was trained (pretrain_fingerprint).

A worker that trains its arms so (`headwater worker --ranks N`) starts the processes by itself and
names one arm (headwater.engines.together): then they meet in a file, say on stdout as lines of JSON
how far they are, and hear on stdin that they should stop.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist

from headwater import device, models, plain, recipes, work
from headwater.engines.schedule import pending
from headwater.errors import InputError, Stopped
from headwater.methods import check_encoder
from headwater.plan import EVERYTHING, Plan, PlannedArm
from headwater.pretrain import Progress
from headwater.ranks import Ranks
from headwater.registry import METHODS
from headwater.store import Store, store_path
from headwater.study import Study

_TELL_EVERY_S = 10.0
_MEETING = "HEADWATER_RANKS_MEET"
"""The file in which ranks meet that a worker started; torchrun's meet at a port."""
_STOP = threading.Event()


def run(
    study: Study,
    store: Store,
    ranks: Ranks,
    *,
    data_root: Path | None,
    device_name: str = "auto",
    sharded: bool = False,
    compiled: bool = False,
    only: str | None = None,
    checkpoint_every_s: float = 20.0,
) -> int:
    """Train the arms that the store lacks, as one of `ranks`; the number of arms trained.

    A process group must be there where there are several. `only` this arm, where one is named: its
    progress is told as JSON then. Raises Stopped where stdin said so.
    """
    plan = Plan.make(study, data_root=data_root, cache=store.cache, looking=EVERYTHING)
    compute = dataclasses.replace(
        device.resolve(device_name, study.precision),
        ranks=ranks.size,
        sharded=sharded and ranks.size > 1,
        compiled=compiled,
    )
    session = work.Session(plan, store, compute, checkpoint_every_s, stop=_STOP)
    arms = plan.every_arm
    places = {arm.id: place for place, arm in enumerate(arms)}
    lacking = [arm for arm in pending(plan, store).arms if only in (None, arm.id)]
    mine = [places[arm.id] for arm in lacking]
    (count,) = ranks.agreed([len(mine)])  # the first rank's look at the store counts
    todo = [arms[place] for place in ranks.agreed((mine + [0] * count)[:count])]
    for arm in todo:
        check_batch(arm, ranks.size)
    for arm in todo:
        if ranks.rank == 0:
            work.prepare(session, arm)
        ranks.barrier()
        teller = _teller(arm.words.title, ranks) if only is None else _as_json(ranks)
        work.run_arm(session, arm, teller, ranks=ranks)
        ranks.barrier()
    return len(todo)


def most_ranks(arms: Iterable[PlannedArm]) -> int:
    """How many ranks can share the batches of all of these arms."""
    shared = [arm.images_seen // arm.steps // 2 for arm in arms if arm.recipe is not None]
    return max(1, min(shared, default=1))


def check_batch(arm: PlannedArm, ranks: int) -> None:
    """Raises InputError for an arm whose batches are too small to be shared by so many ranks."""
    if ranks > most_ranks([arm]) and arm.recipe is not None:
        raise InputError(
            f"{arm.words.title}: a batch of {arm.images_seen // arm.steps} images is too small "
            f"for {ranks} ranks; 2 each are needed"
        )


def _teller(title: str, ranks: Ranks) -> work.Watch:
    said_at = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal said_at
        if ranks.rank == 0 and (
            progress.note
            or progress.step == progress.steps
            or time.monotonic() - said_at > _TELL_EVERY_S
        ):
            said_at = time.monotonic()
            note = f"; {progress.note}" if progress.note else ""
            print(
                f"{plain.name(title)}: step {progress.step}/{progress.steps}, "
                f"{progress.images_per_s:,.0f} images/s, loss {progress.loss:.3f}{note}",
                flush=True,
            )

    return tell


def _as_json(ranks: Ranks) -> work.Watch:
    def tell(progress: Progress) -> None:
        if ranks.rank == 0:
            print(json.dumps(vars(progress)), flush=True)

    return tell


def _listen() -> None:
    """Hears that this rank should stop; the end of stdin is that of whoever started it."""
    for _ in sys.stdin:
        _STOP.set()
    os._exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="torchrun ... -m headwater.engines.ranks",
        description="Train the arms of a study by all ranks together.",
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--store", type=Path, default=store_path(None))
    root = os.environ.get("HEADWATER_DATA")
    parser.add_argument("--data-root", type=Path, default=Path(root) if root else None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fsdp", action="store_true", help="spread the weights over the ranks")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--arm", metavar="ID", help="this arm alone")
    parser.add_argument("--words", action="store_true", help="STUDY is JSON of resolved words")
    parser.add_argument("--checkpoint-every", type=float, default=20.0, metavar="SECONDS")
    return parser.parse_args()


def _meet(backend: str) -> None:
    """Begins the process group, at a port as torchrun says or in a file of a worker."""
    if _MEETING not in os.environ:
        dist.init_process_group(backend)
        return
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # the worker hears of them too, and says stop
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_listen, daemon=True).start()
    dist.init_process_group(
        backend,
        init_method=f"file://{os.environ[_MEETING]}",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def main() -> int:
    given = _arguments()
    alone = "RANK" not in os.environ
    device_name = given.device
    try:
        compute = device.resolve(device_name)
        if compute.device.type == "cuda":
            device_name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            torch.cuda.set_device(device_name)
        elif compute.device.type == "cpu":
            torch.set_num_threads(1)
        device.be_deterministic()
        if not alone:
            _meet("nccl" if compute.device.type == "cuda" else "gloo")
        ranks = Ranks.current()
        if given.words:
            study = Study.model_validate(json.loads(given.study.read_text()))
        else:
            study = Study.load(given.study)
        store = Store(given.store, create=ranks.rank == 0) if ranks.rank == 0 else None
        ranks.barrier()
        store = store or Store(given.store)
        encoder = models.build_encoder(  # says what is wrong before anything is decoded
            study.backbone, study.image_size, seed=0, patch_size=study.patch_size
        )
        resolved = {method: recipes.resolve(study, method) for method in study.methods}
        check_encoder(encoder, study.image_size, resolved)
        if ranks.rank == 0 and ranks.size > 1 and given.arm is None:
            for note in models.notes(
                study.backbone, study.image_size, study.patch_size, batch_is_split=True
            ):
                print(plain.line(f"note: {note}"), flush=True)
            for method in study.methods:
                of_head = METHODS[method].split_note(recipes.resolve(study, method))
                if of_head is not None:
                    print(plain.line(f"note: {of_head}"), flush=True)
        trained = run(
            study,
            store,
            ranks,
            data_root=given.data_root,
            device_name=device_name,
            sharded=given.fsdp,
            compiled=given.compile,
            only=given.arm,
            checkpoint_every_s=given.checkpoint_every,
        )
    except Stopped:
        trained = 0
    except InputError as error:
        print(f"headwater: {plain.line(error)}", file=sys.stderr)
        return 2
    if ranks.rank == 0 and given.arm is None:
        print(
            f"trained {trained} arms on {ranks.size} ranks; `headwater run {given.study} --store "
            f"{given.store}` measures them",
            flush=True,
        )
    if not alone:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
