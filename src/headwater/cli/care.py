"""`headwater doctor` and `headwater gc`: what is wrong in a store, what can be freed, and what this
machine offers.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater import plain
from headwater.cli.options import DeviceOption, JsonOption, QuietOption, print_json
from headwater.cli.studies import shipped_studies
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.store.care import Looked

StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="A store.")]


def doctor(
    store: Annotated[
        Path | None, typer.Argument(metavar="[STORE]", help="A store; this machine when left out.")
    ] = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Of a store: compares every digest, says what is wrong and what lies there for nobody. Without
    one, what this machine offers: device, precision, cores, versions, data root.

    Changes nothing. Ends with 1 where something is damaged; `headwater gc` removes it.
    """
    if store is None:
        _print_machine(device, as_json=as_json)
        return
    from headwater.show.care import print_look
    from headwater.store.care import DAMAGED

    looked = _looked(store, quiet=quiet or as_json)
    print_json(_facts(looked)) if as_json else print_look(store, looked)
    if any(found.kind == DAMAGED for found in looked.findings):
        raise typer.Exit(1)


def _print_machine(device: str, *, as_json: bool) -> None:
    from headwater import device as device_room
    from headwater.engines.cores import default_workers

    compute = device_room.resolve(device)
    root = os.environ.get("HEADWATER_DATA")
    facts = {
        "device": compute.fingerprint,
        "workers": default_workers(device),
        "versions": json.loads(device_room.versions()),
        "python": sys.version.split()[0],
        "data_root": root,
        "data_root_found": bool(root and Path(root).is_dir()),
        "shipped_studies": sorted(shipped_studies()),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        text = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
        typer.echo(plain.line(f"{name:16} {text}"))


def gc(
    store: StoreArgument,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache", help="Decoded pixels and features too; they are made again when needed."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove from a store what is damaged, half-written, orphaned or no longer needed.

    Finished arms and rows that are sound, and checkpoints of arms in training, stay.
    """
    from headwater.show.care import print_freed
    from headwater.store import Store
    from headwater.store.care import STRAY, free, workers

    at_work = workers(Store(store)) if cache and not dry_run else []
    if at_work:
        raise InputError(
            f"--cache: {', '.join(at_work)} computes in {store}, and reads what lies there; try "
            "again when it is done"
        )
    looked = _looked(store, quiet=quiet or as_json)
    would = sum(found.bytes for found in looked.findings if found.kind != STRAY)
    would += looked.sizes.get("cache", 0) if cache else 0
    freed = 0 if dry_run else free(Store(store), looked.findings, cache=cache)
    facts = {**_facts(looked), "would_free": would, "freed": freed, "dry_run": dry_run}
    print_json(facts) if as_json else print_freed(looked, would if dry_run else freed, dry_run)


def _looked(store: Path, *, quiet: bool) -> Looked:
    from headwater.show.care import counting
    from headwater.store import Store
    from headwater.store.care import look

    opened = Store(store)
    return look(opened, counting(quiet=quiet))


def _facts(looked: Looked) -> dict[str, Any]:
    findings = [
        {"kind": found.kind, "path": str(found.path), "what": found.what, "bytes": found.bytes}
        for found in looked.findings
    ]
    return {"checked": looked.checked, "bytes": looked.sizes, "findings": findings}
