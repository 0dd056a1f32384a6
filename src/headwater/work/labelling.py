"""Labels that are known only when an encoder is trained: features of the arm's images, clustered,
kept in the store.

They are computed once and then read, so that an arm that goes on after a kill goes on with the same
labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headwater import digests, models
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.labels import Targets, cluster_targets
from headwater.plan import Clusters, PlannedArm
from headwater.transfer.features import extract
from headwater.views import MEAN, STD
from headwater.work.decoded import decoded
from headwater.work.session import Session


class NoFeatures(Exception):
    """The arm that an arm's clusters are made from has diverged. Final, as that is."""


def labels_of(session: Session, arm: PlannedArm) -> Targets | None:
    """The labels of an arm; None for methods that have none.

    Clusters are made where the store lacks them, from an arm that it has.

    Raises NoFeatures where that arm has diverged, InputError for a damaged one, for a timm model
    that cannot be had and for a wrong file.
    """
    clusters = arm.clusters
    if clusters is None:
        return arm.targets
    store = session.store
    codes = store.read_labels(clusters.id, len(arm.positions))
    if codes is None:
        features = _features(session, arm, clusters)
        made, inertia = cluster_targets(
            clusters.view,
            clusters.partition,
            features,
            arm.words.seed,
            f"sources.{arm.words.source}",
        )
        about = {
            "view": clusters.view.name,
            "features": clusters.origin,
            "names": list(made.names),
            "inertia": inertia,
            "fingerprint": session.compute.fingerprint,
        }
        assert arm.source is not None
        store.write_labels(
            clusters.id,
            np.asarray(made.indices),
            arm.source.table.ids[arm.positions].tolist(),
            about,
        )
        codes = store.read_labels(clusters.id, len(arm.positions))
        assert codes is not None
    return Targets(codes, clusters.partition.names, clusters.view.name)


def _features(session: Session, arm: PlannedArm, clusters: Clusters) -> NDArray[np.float32]:
    """float32 [images of the arm, d]"""
    assert arm.source is not None
    store, compute = session.store, session.compute
    _check_digest(clusters)
    if clusters.file is not None:
        from headwater.labels.embeddings import read_embeddings

        return read_embeddings(
            clusters.file,
            arm.source.table.ids[arm.positions].tolist(),
            f"sources.{arm.words.source}",
        )
    if clusters.timm is not None:
        encoder, size = _pretrained(clusters.timm, clusters.weights)
        return extract(
            encoder,
            decoded(arm.source, arm.positions, size, store),
            image_size=size,
            compute=compute,
            batch=64,
        )
    assert clusters.arm is not None
    record = store.read_arm(clusters.arm.id)
    if record["status"] != "done":
        raise NoFeatures(
            f"its clusters need {clusters.arm.words.title}, which diverged: {record['reason']}"
        )
    images = session.source_pixels(arm).subset(arm.positions)
    encoder = models.trained_encoder(store.arm_folder(clusters.arm.id), record["encoder_sha256"])
    return extract(encoder, images, image_size=session.plan.study.image_size, compute=compute)


def _check_digest(clusters: Clusters) -> None:
    """Raises InputError where a file is not the one that the plan, and so the arm's id, is of."""
    file = clusters.file or clusters.weights
    if file is not None and clusters.digest not in (None, file_sha256(file)):
        raise InputError(f"{file}: has changed since the plan was made; run the study again")


class _Renormalised(nn.Module):
    """A model behind the normalisation that it was trained with; views come with Headwater's."""

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self._scale = torch.tensor(
            [ours / theirs for ours, theirs in zip(STD, std, strict=True)]
        ).view(1, 3, 1, 1)
        self._shift = torch.tensor(
            [(ours - theirs) / by for ours, theirs, by in zip(MEAN, mean, std, strict=True)]
        ).view(1, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x * self._scale.to(x.device) + self._shift.to(x.device))  # type: ignore[no-any-return]


def _pretrained(name: str, weights: Path | None) -> tuple[nn.Module, int]:
    """(model without a classifier, input side in pixels) of a pre-trained timm model; raises
    InputError where it cannot be had.

    Weights are read as safetensors and as nothing else: from the file, or from the model's
    repository on the hub that timm names.
    """
    import timm
    from safetensors.torch import load_file
    from timm.data.config import resolve_model_data_config

    try:
        model = timm.create_model(name, pretrained=False, num_classes=0)
        config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        if weights is None:
            from huggingface_hub import hf_hub_download

            repository = getattr(timm.models.get_pretrained_cfg(name), "hf_hub_id", None)
            weights = Path(hf_hub_download(str(repository), "model.safetensors"))
        digests.check_safetensors(weights)
        parameters = model.state_dict()
        model.load_state_dict(
            {key: value for key, value in load_file(weights).items() if key in parameters}
        )
    # the hub's errors, the network's, safetensors' and torch's are of many kinds
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"features of timm:{name}: the weights cannot be loaded ({type(error).__name__}: "
            f"{reason}); without a network, give `weights: FILE.safetensors`"
        ) from None
    return _Renormalised(model, config["mean"], config["std"]), int(config["input_size"][-1])
