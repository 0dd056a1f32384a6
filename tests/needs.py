"""What some tests need that not every machine has, once for all of them.

A test that lacks its need is skipped with the reason, and the end of the run counts these tests by
need (conftest.py). README lists the needs. HEADWATER_TESTS_WITHOUT hides needs that are there, such
as HEADWATER_TESTS_WITHOUT=chromium,data, so that a run is what another machine would see.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HIDING = "HEADWATER_TESTS_WITHOUT"
NAMES = (
    "data",
    "chromium",
    "axe",
    "wordnet",
    "git",
    "gpu",
    "tensorboard",
    "fuse",
    "tmpfs",
    "slurm",
    "ray",
)
ROOT = Path(__file__).parents[1]
NOWHERE = "/nowhere"
"""A path at which nothing lies: what is hidden is looked for there and not found."""


def names_to_hide(text: str) -> frozenset[str]:
    """The needs named in a list with commas; a name that is none of NAMES is an error."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(names - set(NAMES)):
        raise pytest.UsageError(f"{HIDING}: {unknown[0]!r} is none of {', '.join(NAMES)}")
    return names


HIDDEN = names_to_hide(os.environ.get(HIDING, ""))
if "data" in HIDDEN:
    os.environ.pop("HEADWATER_DATA", None)
if "git" in HIDDEN:
    os.environ["GIT_DIR"] = NOWHERE
if "gpu" in HIDDEN:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# After the environment is what the tests are to see.
import torch  # noqa: E402


def can_mount_fuse() -> bool:
    """Whether tests may show a folder as a network disk shows it."""
    there = shutil.which("fusermount3") and importlib.util.find_spec("mfusepy")
    return bool(there) and os.access("/dev/fuse", os.R_OK | os.W_OK)


def can_mount_tmpfs() -> bool:
    """Whether this user may mount a disk of a few megabytes, in a space of mounts of its own."""
    if shutil.which("unshare") is None:
        return False
    inside = "mount -t tmpfs -o size=1m none /mnt"
    command = ["unshare", "--mount", "sh", "-c", inside]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Need:
    """Something that a machine may lack."""

    name: str
    met: bool
    reason: str
    """What is missing, and what would bring it."""

    @property
    def mark(self) -> pytest.MarkDecorator:
        """Skips a test where the need is not met."""
        return pytest.mark.skipif(not self.met, reason=f"without {self.name}: {self.reason}")


def is_checkout() -> bool:
    """Whether git knows the files of this project."""
    command = ["git", "-C", str(ROOT), "ls-files", "--error-unmatch", "pyproject.toml"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


DATA = os.environ.get("HEADWATER_DATA")
IS_A = (
    Path(DATA or NOWHERE)
    / "hierarchies"
    / "breeds"
    / "imagenet_class_hierarchy"
    / "wordnet"
    / "class_hierarchy.txt"
)
"""ImageNet's list of is-a relations, among the real hierarchies."""
NOUNS = Path(NOWHERE if "wordnet" in HIDDEN else "/usr/share/wordnet") / "data.noun"
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
if "chromium" in HIDDEN:
    BROWSER = DRIVER = None
SLURM = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "sbatch")
_AXE = None if "axe" in HIDDEN else importlib.util.find_spec("axe_core_python")
AXE = Path(_AXE.origin if _AXE and _AXE.origin else NOWHERE).parent / "axe.min.js"
"""What finds faults of accessibility in a page, as one script."""

NEEDS = {
    need.name: need
    for need in (
        Need(
            "data",
            DATA is not None and Path(DATA).is_dir(),
            "HEADWATER_DATA names no folder: the real photos and hierarchies are not here",
        ),
        Need(
            "chromium",
            bool(BROWSER and DRIVER),
            "Chromium or its driver is not installed (Debian: chromium, chromium-driver)",
        ),
        Need(
            "axe",
            AXE.is_file(),
            "axe-core-python is not installed (pip install -e '.[dev]')",
        ),
        Need(
            "wordnet",
            NOUNS.is_file(),
            "WordNet's data.noun is not installed (Debian: wordnet-base)",
        ),
        Need(
            "git",
            is_checkout(),
            "this is no git checkout, and what is tracked cannot be told",
        ),
        Need(
            "gpu",
            torch.cuda.is_available(),
            "no CUDA device is here: views on a GPU are not compared with the processor's",
        ),
        Need(
            "slurm",
            "slurm" not in HIDDEN and os.geteuid() == 0 and all(map(shutil.which, SLURM)),
            "this is not root, or Slurm is not installed (Debian: slurmctld, slurmd, slurm-client, "
            "munge)",
        ),
        Need(
            "tensorboard",
            "tensorboard" not in HIDDEN and importlib.util.find_spec("tensorboard") is not None,
            "TensorBoard is not installed (pip install 'headwater[tensorboard]')",
        ),
        Need(
            "fuse",
            "fuse" not in HIDDEN and can_mount_fuse(),
            "FUSE cannot be used (Debian: fuse3; pip install mfusepy; /dev/fuse)",
        ),
        Need(
            "tmpfs",
            "tmpfs" not in HIDDEN and can_mount_tmpfs(),
            "this user may mount no disk of a few megabytes to fill",
        ),
        Need(
            "ray",
            "ray" not in HIDDEN and importlib.util.find_spec("ray") is not None,
            "Ray is not installed (pip install 'headwater[ray]')",
        ),
    )
}

needs_data = NEEDS["data"].mark
needs_browser = NEEDS["chromium"].mark
needs_axe = NEEDS["axe"].mark
needs_nouns = NEEDS["wordnet"].mark
needs_git = NEEDS["git"].mark
needs_ray = NEEDS["ray"].mark
needs_tensorboard = NEEDS["tensorboard"].mark
needs_slurm = NEEDS["slurm"].mark
needs_cuda = NEEDS["gpu"].mark
needs_fuse = NEEDS["fuse"].mark
needs_tmpfs = NEEDS["tmpfs"].mark
