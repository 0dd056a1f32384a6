"""Encoders: timm architectures from scratch, saved as safetensors + JSON.

An encoder that Headwater trained loads back into plain timm:

    timm.create_model("test_resnet", num_classes=0, checkpoint_path="<store>/arms/<id>/encoder.safetensors")

(the architecture's name and the image size stand in encoder.json beside it; architectures whose weights depend on the image size, such as
ViTs, need `img_size=<image_size>` as well), or with `headwater.load_encoder(folder)`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from headwater import keys
from headwater.device import seeded
from headwater.errors import InputError
from headwater.files import file_sha256

PRESETS = {"tiny": "test_resnet"}
"""`tiny` is timm's test_resnet.r160_in1k architecture from scratch: 0.37 M parameters, 96 features."""


def architecture(backbone: str) -> str:
    """The timm architecture that a backbone's name means. Raises InputError for a name that timm does not have."""
    import timm

    name = PRESETS.get(backbone, backbone)
    if not timm.is_model(name):
        import difflib

        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(f"backbone: timm has no architecture {backbone!r}" + (f"; near are {', '.join(near)}" if near else "") + "; `tiny` is a small preset")
    return name


def pretrained_name(name: str) -> str:
    """The full name, tag included, of the weights that timm would load for a name: another version of timm may have another default.

    Raises InputError for a model that timm lacks or has no weights for.
    """
    import timm

    architecture(name.partition(".")[0])
    try:
        config = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(f"features of timm:{name}: {error}") from None
    if config is None or not config.hf_hub_id:
        raise InputError(f"features of timm:{name}: timm has no weights for it; name other ones, or give `weights: FILE.safetensors`")
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def timm_cost(name: str) -> tuple[float, int]:
    """(FLOPs of one image's forward pass, input side in pixels) of a timm model at its own size."""
    import timm
    from timm.data.config import resolve_model_data_config

    model = timm.create_model(name, pretrained=False, num_classes=0)
    size = int(resolve_model_data_config(model)["input_size"][-1])  # type: ignore[no-untyped-call]
    return forward_flops(model, size), size


def build_encoder(backbone: str, image_size: int, *, seed: int) -> nn.Module:
    """A timm backbone without a classification head, with weights drawn from the key of `seed`. Input [n, 3, s, s], output [n, num_features].

    Raises InputError where the architecture does not take images of this size.
    """
    import timm

    name = architecture(backbone)
    with seeded(keys.key(seed, "encoder weights")):
        try:
            try:
                model = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
            except TypeError:  # convolutional nets take any size and have no such argument
                model = timm.create_model(name, pretrained=False, num_classes=0)
            model.eval()
            with torch.no_grad():
                features = model(torch.zeros(2, 3, image_size, image_size))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise InputError(f"backbone {backbone!r} does not take images of {image_size} px ({str(error).splitlines()[0]})") from None
    if features.ndim != 2:
        raise InputError(f"backbone {backbone!r} gives features of shape {list(features.shape[1:])}, not a vector; choose another")
    model.train()
    model.num_features = features.shape[1]
    return model


def save_encoder(folder: Path, encoder: nn.Module, *, backbone: str, image_size: int) -> None:
    """encoder.safetensors and encoder.json in `folder`, which the caller renames into place."""
    save_file({name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()}, folder / "encoder.safetensors")
    about = {"backbone": backbone, "architecture": architecture(backbone), "image_size": image_size, "num_features": int(encoder.num_features)}  # type: ignore[arg-type]
    (folder / "encoder.json").write_text(json.dumps(about, sort_keys=True) + "\n")


def load_encoder(folder: str | Path) -> nn.Module:
    """The encoder in an arm's folder, as a timm module in eval mode. Raises InputError for a missing or damaged one."""
    folder = Path(folder)
    try:
        about: dict[str, Any] = json.loads((folder / "encoder.json").read_text())
        model = build_encoder(about["backbone"], about["image_size"], seed=0)
        model.load_state_dict(load_file(folder / "encoder.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: holds no readable encoder ({' '.join(str(error).split())[:200]}); remove the folder to train it again") from None
    return model.eval()


def trained_encoder(folder: Path, sha256: str) -> nn.Module:
    """The encoder of a finished arm. Raises InputError where its bytes are not those that were trained: a flipped bit would pass for a result."""
    weights = folder / "encoder.safetensors"
    if not weights.is_file() or file_sha256(weights) != sha256:
        raise InputError(f"{weights}: is missing or damaged; remove the folder, and the next run trains this arm again")
    return load_encoder(folder)


def forward_flops(module: nn.Module, image_size: int) -> float:
    """FLOPs (multiply-add = 2) of one image's forward pass, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    was_training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(1, 3, image_size, image_size, device=next(module.parameters()).device))
    module.train(was_training)
    return float(counter.get_total_flops())
