"""The columns of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.registry import LABEL_VIEWS, METHODS, PROTOCOLS

SCHEMA_VERSION = 1

Kind = Literal["str", "int", "float", "bool"]
PANDAS_TYPES: dict[Kind, str] = {
    "str": "string[python]",
    "int": "Int64",
    "float": "Float64",
    "bool": "boolean",
}
"""Texts are Python's, so that equal ones can be one object: recipes and versions stand on every
row, and a million of each would be gigabytes.
"""
STATUSES = ("done", "diverged", "failed")
UNBOUNDED = "response_"
"""What the names of metrics begin with that are no shares, and may be any number."""

NOISY, SUBSET, WITHIN = "noisy", "subset", " within"
"""Of `label_kind`, beside the kinds of label views: what a view with label noise is called, and one
that leaves out the images of some classes (fewer classes are then no coarser labels), whatever
their kinds; and what is added to the kind of a view that splits the classes of a level.
"""


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    meaning: str
    """`explained` fills in the names of what is registered."""
    required: bool = False
    """True where null is not allowed."""
    volatile: bool = False
    """True for what may differ between two correct runs of one cell (time, host, attempt), or does
    not change the number by itself (commit): left out when rows are compared.
    """
    least: int | None = None
    """The lowest number allowed; None for no bound. Numbers are finite in every column."""
    most: int | None = None


COLUMNS: tuple[Column, ...] = (
    Column(
        "cell", "str", "id of the cell: a hash of all that determines the number", required=True
    ),
    Column(
        "arm",
        "str",
        "id of the arm (the pre-trained encoder) that the cell transfers",
        required=True,
    ),
    Column(
        "study", "str", "name of the study that ran the cell first", required=True, volatile=True
    ),
    Column(
        "status",
        "str",
        "done; diverged (final, with its reason); failed (retried by the next run)",
        required=True,
    ),
    Column("reason", "str", "why a cell diverged or failed"),
    Column(
        "metric",
        "str",
        "top1 (share of test samples that are right); mean_per_class (mean over classes of that "
        "share); ece (calibration error, 15 bins; the lower the better; "
        "null for ridge); error_within, error_across (shares of test samples that are taken for "
        "another class of their own superclass, and for one of another; "
        "where the task has a coarser level). Of simulated networks (docs/theory.md): "
        "response_common_aligned_mean and its like (any number), and the shares "
        "common_neurons, common_detected, fine_neurons, fine_detected",
        required=True,
    ),
    Column(
        "subset",
        "str",
        "which part of the test set: all, easy, hard (as the task marks them) or unleaked (without "
        "the images of leaked_test_images, similar_test_images, own_test_copies and "
        "own_similar_test_images)",
        required=True,
    ),
    Column(
        "value",
        "float",
        "the number, in [0, 1] but for responses; null unless status is done",
        least=0,
        most=1,
    ),
    Column("n_test", "int", "test samples in this subset", least=0),
    # what was pre-trained on
    Column("method", "str", "how it was pre-trained: {methods}", required=True),
    Column("source", "str", "name of the source in the study; null for scratch"),
    Column("source_fingerprint", "str", "digest of the source's training images (ids and bytes)"),
    Column("size", "str", "how much of the source the study asked for: all, or a number of images"),
    Column(
        "curation",
        "str",
        "what the source is made of, if it is a mix or a view of other data (docs/curation.md): "
        "its words as canonical JSON; null for data as it is",
    ),
    Column(
        "unique_images",
        "int",
        "different pictures in pre-training, by their bytes: files that are copies count once",
        least=0,
    ),
    Column(
        "labels",
        "str",
        "label view of the arm (docs/study.md), or the name that the study gave it; caption field "
        "for clip; null for simclr and scratch",
    ),
    Column(
        "label_kind",
        "str",
        "kind of the arm's label view, whatever the study calls it: {views}; `random within` and "
        "`cluster within` split the classes of a level; noisy has label noise, subset leaves out "
        "the images of some classes; null without labels",
    ),
    Column("label_level", "int", "k of level:k, 0 = finest; null otherwise", least=0),
    Column(
        "num_labels",
        "int",
        "classes in the arm's label view; for clip the captions that its text tower can tell apart",
        least=0,
    ),
    Column("texts", "int", "different captions of clip's images, as they are written", least=0),
    Column(
        "cut_texts",
        "int",
        "of these, the captions that are longer than the text tower's context and cut there",
        least=0,
    ),
    Column(
        "multi_label_share",
        "float",
        "share of the arm's images that have several labels, in [0, 1]; null without labels",
        least=0,
        most=1,
    ),
    Column(
        "label_noise",
        "float",
        "realised rate of label or caption noise, in [0, 1]; null where none was asked for; of "
        "simulated networks the rate that was asked for",
        least=0,
        most=1,
    ),
    Column(
        "label_features",
        "str",
        "what cluster labels were made from: an arm's id, timm:NAME (with @ and the SHA-256 of "
        "weights from a file), or file: and its SHA-256; null otherwise",
    ),
    Column(
        "constants",
        "str",
        "constants of simulated data, as canonical JSON: docs/theory.md; null for images",
    ),
    # how
    Column(
        "images_seen", "int", "images that passed through pre-training (images, not views)", least=0
    ),
    Column("epochs", "float", "images_seen / unique_images", least=0),
    Column("steps", "int", "optimiser steps of pre-training", least=0),
    Column(
        "pretrain_flops",
        "float",
        "estimated FLOPs of pre-training: three forward passes of the image encoder for each view, "
        "multiply-add = 2; heads and text towers are not counted; "
        "of simulated networks two products a step",
        least=0,
    ),
    Column(
        "backbone",
        "str",
        "timm architecture, tiny, or relu-patches (the theory's two-layer network)",
        required=True,
    ),
    Column(
        "image_size",
        "int",
        "side of the images that the encoder sees, in pixels; null for simulated samples",
        least=1,
    ),
    Column(
        "patch_size", "int", "side of a ViT's patches in pixels, where the study set it", least=1
    ),
    Column("batch", "int", "pre-training batch, in images", least=0),
    Column("optimiser", "str", "pre-training optimiser"),
    Column("lr", "float", "pre-training base learning rate"),
    Column(
        "lr_factor",
        "float",
        "that rate over the method's own in the study, above 0, where rates are an axis; null for "
        "the method's own",
        least=0,
    ),
    Column("weight_decay", "float", "pre-training weight decay"),
    Column("recipe", "str", "the whole resolved pre-training recipe, as canonical JSON"),
    Column(
        "loss",
        "str",
        "loss of supervised pre-training: softmax, sigmoid or softmax over sets (label sets "
        "normalised); null for other methods",
    ),
    Column(
        "seed",
        "int",
        "seed of the arm: initial weights, order, augmentation, label view; also of the few-shot "
        "draws and fine-tuning",
        required=True,
    ),
    Column(
        "pretrain_knn",
        "float",
        "online probe at the end of pre-training: share of held-out source images whose class "
        "their nearest training images tell; null without one",
        least=0,
        most=1,
    ),
    Column("pretrain_loss", "float", "mean training loss over the last tenth of pre-training"),
    # transferred to
    Column("task", "str", "name of the task in the study", required=True),
    Column("task_labels", "str", "label view of the task", required=True),
    Column("task_classes", "int", "classes of the task", least=0),
    Column(
        "task_majority",
        "float",
        "share of the test set that its most frequent class has: what a constant answer attains, "
        "in [0, 1]",
        least=0,
        most=1,
    ),
    Column("task_fingerprint", "str", "digest of the task's images, labels and splits"),
    Column(
        "protocol",
        "str",
        "how transfer was measured: {protocols}",
        required=True,
    ),
    Column(
        "shots",
        "int",
        "training images per class, 1 or more; null = the full training split, or none for "
        "zeroshot",
        least=1,
    ),
    Column("draw", "int", "number of the few-shot draw; null at full size", least=0),
    Column("n_train", "int", "training images of the cell", least=0),
    Column("n_val", "int", "validation images that chose the hyper-parameters", least=0),
    Column(
        "val_protocol",
        "str",
        "how validation was formed: split (the task's own), carved (cut from train) and whether it "
        "was cut to few-shot size",
    ),
    Column("val_missing_classes", "int", "classes without a validation image", least=0),
    Column(
        "head_init",
        "str",
        "how the head starts in fine-tuning: zeros, probe or text (class names; also the head of "
        "zeroshot); null for other protocols",
    ),
    Column(
        "chosen",
        "str",
        "hyper-parameters that validation chose, as canonical JSON; for zeroshot what validation "
        "says of the class names: `alignment` (aligned, at chance, or "
        "out of order: another order fits far better) and what it rests on; `equal_prompts`, where "
        "there are any, counts the classes whose prompts are those of another one to the text "
        "tower",
    ),
    Column("grid", "str", "the grid they were chosen from, equal for all arms, as canonical JSON"),
    Column(
        "val_value",
        "float",
        "accuracy on validation of what was chosen, in [0, 1] (optimistic: it was maximised)",
        least=0,
        most=1,
    ),
    Column(
        "label_reuse",
        "bool",
        "the task's labels are nested with the labels that the arm was trained on, on the same "
        "images: a frozen probe then decides nothing",
    ),
    Column(
        "defects",
        "str",
        "what is known to be wrong with an imported number, sentences apart by semicolons; null "
        "where nothing is, and for all that was measured here",
    ),
    Column(
        "leaked_test_images",
        "int",
        "test images whose bytes are among the arm's pre-training images",
        least=0,
    ),
    Column(
        "similar_test_images",
        "int",
        "test images that the arm's pre-training images show: equal, compressed, resized, mirrored "
        "or cropped (docs/leakage.md); null where not looked for",
        least=0,
    ),
    Column(
        "own_test_copies",
        "int",
        "test images whose bytes are among the task's own train or val images",
        least=0,
    ),
    Column(
        "own_similar_test_images",
        "int",
        "test images that the task's own train or val images show: equal, compressed, resized, "
        "mirrored or cropped (docs/leakage.md); null where not looked for",
        least=0,
    ),
    Column(
        "source_left_out",
        "int",
        "images of the source that were left out since they cannot be read (on_bad_images: skip); "
        "null where none was",
        least=1,
    ),
    Column(
        "task_left_out",
        "int",
        "images of the task's splits that were left out since they cannot be read; null where none "
        "was",
        least=1,
    ),
    Column(
        "left_out_reasons",
        "str",
        "what is wrong with the images that were left out, counted for the source and the task, as "
        "canonical JSON; null where none was",
    ),
    # where it came from
    Column("schema", "int", "version of this schema", required=True),
    Column("precision", "str", "precision that was asked for (auto, fp32, bf16)"),
    Column(
        "fingerprint", "str", "what was computed on: device, resolved precision, threads, processor"
    ),
    Column("versions", "str", "versions of headwater, torch, timm and numpy, as canonical JSON"),
    Column(
        "pretrain_fingerprint",
        "str",
        "what the arm was pre-trained on: device, resolved precision, threads, processor; null "
        "without pre-training",
    ),
    Column(
        "pretrain_versions",
        "str",
        "versions at pre-training, as canonical JSON; null without pre-training",
    ),
    Column(
        "commit",
        "str",
        "git commit of the code that ran the cell, where it ran from a checkout",
        volatile=True,
    ),
    Column(
        "capped",
        "bool",
        "some class had fewer training images than shots, and the task allows it (cap: true)",
    ),
    Column("seconds", "float", "wall time of the cell, features apart", volatile=True),
    Column(
        "pretrain_seconds",
        "float",
        "wall time of the arm's pre-training; of simulated networks since the first of those that "
        "are trained beside it began",
        volatile=True,
    ),
    Column("host", "str", "machine that ran the cell", volatile=True),
    Column("finished", "str", "when the cell was finished, UTC, ISO 8601", volatile=True),
    Column(
        "attempt", "int", "how often the cell was tried, this time counted", volatile=True, least=0
    ),
)
NAMES = tuple(column.name for column in COLUMNS)
VOLATILE = frozenset(column.name for column in COLUMNS if column.volatile)


def explained(column: Column) -> str:
    """What a column means, with the methods, protocols and label views that there are."""
    meaning = column.meaning.replace("{methods}", _methods()).replace("{protocols}", _protocols())
    return meaning.replace("{views}", ", ".join(LABEL_VIEWS.names()))


def _methods() -> str:
    return ", ".join(
        method.name if method.trains else f"{method.name} ({method.title})" for method in METHODS
    )


def _protocols() -> str:
    frozen = [f"{entry.name} ({entry.title})" for entry in PROTOCOLS if not entry.tuned]
    tuned = [f"{entry.name} ({entry.title})" for entry in PROTOCOLS if entry.tuned]
    return f"of a frozen encoder {', '.join(frozen)}; of the whole network {', '.join(tuned)}"
