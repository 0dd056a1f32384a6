"""Encoders: timm architectures from scratch, saved as safetensors + JSON.

An encoder that Headwater trained loads back with `headwater.load_encoder(folder)`, or into plain
timm with what encoder.json beside it says:

    timm.create_model(
        architecture, num_classes=0, **model_args, checkpoint_path="encoder.safetensors"
    )

`model_args` are the image and patch size of architectures that have such arguments (ViTs), and
empty for others.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from headwater import digests, keys
from headwater.device import seeded
from headwater.errors import InputError
from headwater.files import file_sha256

PRESETS = {"tiny": "test_resnet"}
"""`tiny` is timm's test_resnet.r160_in1k architecture from scratch: 0.37 M parameters, 96
features.
"""


def architecture(backbone: str) -> str:
    """The timm architecture that a backbone's name means.

    Raises InputError for a name that timm does not have.
    """
    import timm

    name = PRESETS.get(backbone, backbone)
    if not timm.is_model(name):
        import difflib

        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(
            f"backbone: timm has no architecture {backbone!r}"
            + (f"; near are {', '.join(near)}" if near else "")
            + "; `tiny` is a small preset"
        )
    return name


def pretrained_name(name: str) -> str:
    """The full name, tag included, of the weights that timm would load for a name: another version
    of timm may have another default.

    Raises InputError for a model that timm lacks or has no weights for.
    """
    import timm

    architecture(name.partition(".")[0])
    try:
        config = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(f"features of timm:{name}: {error}") from None
    if config is None or not config.hf_hub_id:
        raise InputError(
            f"features of timm:{name}: timm has no weights for it; name other ones, or give "
            "`weights: FILE.safetensors`"
        )
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def timm_cost(name: str) -> tuple[float, int]:
    """(FLOPs of one image's forward pass, input side in pixels) of a timm model at its own size."""
    import timm
    from timm.data.config import resolve_model_data_config

    model = timm.create_model(name, pretrained=False, num_classes=0)
    size = int(resolve_model_data_config(model)["input_size"][-1])  # type: ignore[no-untyped-call]
    return forward_flops(model, size), size


def build_encoder(
    backbone: str, image_size: int, *, seed: int, patch_size: int | None = None
) -> nn.Module:
    """A timm backbone without a classification head, with weights drawn from the key of `seed`.

    Input [n, 3, s, s], output [n, num_features].

    `patch_size` is the side of a ViT's patches in pixels, the architecture's own where it is None.
    What timm was told stands in `encoder.model_args`. Raises InputError where the architecture does
    not take images of this size, has no patches to choose, or the size is no multiple of the patch.
    """
    name = architecture(backbone)
    if patch_size is not None and image_size % patch_size:
        raise InputError(
            f"patch_size: {image_size} px is no multiple of {patch_size}; "
            f"{_nearest(image_size, patch_size)}",
            at=("patch_size",),
        )
    with seeded(keys.key(seed, "encoder weights")):
        try:
            model, args = _create(backbone, image_size, patch_size)
            num_features = _check(model, backbone, image_size)
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            advice = (
                f"; {hint}"
                if patch_size is None and (hint := _patch_hint(name, image_size))
                else ""
            )
            raise InputError(
                f"backbone {backbone!r} does not take images of {image_size} px ({reason}){advice}"
            ) from None
    model.train()
    model.num_features, model.model_args = num_features, args  # type: ignore[assignment]
    return model


def _create(
    backbone: str, image_size: int, patch_size: int | None
) -> tuple[nn.Module, dict[str, int]]:
    """(model, what timm was told beside its name): the sizes that the architecture has arguments
    for. Convolutional nets have none.
    """
    import timm

    patch: dict[str, Any] = {} if patch_size is None else {"patch_size": patch_size}
    for args in ({"img_size": image_size, **patch}, patch):
        with contextlib.suppress(TypeError):  # it has no such argument
            return timm.create_model(
                architecture(backbone), pretrained=False, num_classes=0, **args
            ), args
    raise InputError(
        f"patch_size: the backbone {backbone!r} has no patches whose size could be chosen; leave "
        "patch_size out",
        at=("patch_size",),
    )


def _check(model: nn.Module, backbone: str, image_size: int) -> int:
    """Width of the features of two images.

    Raises what the model raises for images of this size, and InputError for features that are no
    vectors.
    """
    model.eval()
    with torch.no_grad():
        features = model(torch.zeros(2, 3, image_size, image_size))
    if features.ndim != 2:
        raise InputError(
            f"backbone {backbone!r} gives features of shape {list(features.shape[1:])}, not a "
            "vector; choose another"
        )
    return int(features.shape[1])


def _nearest(image_size: int, patch_size: int) -> str:
    """The sizes next to a wrong one that would do."""
    fits = [p for p in range(1, image_size + 1) if image_size % p == 0]
    near = [
        max((p for p in fits if p < patch_size), default=None),
        min((p for p in fits if p > patch_size), default=None),
    ]
    return f"the nearest that fit are {' and '.join(str(p) for p in near if p is not None)}"


def _patch_hint(name: str, image_size: int) -> str | None:
    """What to say of a ViT whose own patches do not fit the image; None for anything else."""
    import timm

    try:
        own = _side(timm.create_model(name, pretrained=False, num_classes=0))
    except (RuntimeError, AssertionError, ValueError, TypeError):
        return None
    return (
        f"its patches have {own} px: set patch_size; {_nearest(image_size, own)}"
        if own and image_size % own
        else None
    )


def _patches(model: nn.Module) -> Any:
    """What cuts images into patches in a ViT or a mixer; None where nothing does."""
    return getattr(model, "patch_embed", None) or getattr(model, "stem", None)


def _side(model: nn.Module) -> int | None:
    """The side of a model's patches as timm calls it, in pixels; None where it has none."""
    size = getattr(_patches(model), "patch_size", None)
    return int(size[0]) if isinstance(size, tuple) else None


def num_tokens(model: nn.Module) -> int | None:
    """Patches of an image that a ViT sees, class tokens not counted; None for a model that does not
    cut images into patches.
    """
    number = getattr(_patches(model), "num_patches", None)
    return number if isinstance(number, int) else None


def has_batch_norm(module: nn.Module) -> bool:
    """Whether statistics of the batch enter the result: with it, splitting a batch over ranks or
    micro-batches trains other weights.
    """
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())


FEW_TOKENS, GOOD_TOKENS = 16, 64
"""A ViT that sees fewer patches than the one is warned of, and told how to see about the other
[ours]: 2 x 2 patches of a 32 px image leave attention next to nothing to do; 8 x 8 is what
small-image ViTs use [recalled].
"""


def notes(
    backbone: str, image_size: int, patch_size: int | None = None, *, batch_is_split: bool = False
) -> list[str]:
    """What a person should know of a backbone before training; builds it (seconds for a large one).

    Raises InputError as `build_encoder` does.

    `batch_is_split` says that ranks or accumulation will split the batch, which BatchNorm feels.
    """
    model = build_encoder(backbone, image_size, seed=0, patch_size=patch_size)
    told = []
    tokens = num_tokens(model)
    if tokens is not None and tokens < FEW_TOKENS:
        better = _better_patch(backbone, image_size, tokens)
        advice = (
            f"patch_size: {better[0]} gives it {better[1]}"
            if better
            else "its patches have one size only: choose larger images or another backbone"
        )
        told.append(
            f"the backbone {backbone} sees {tokens} patch{'es' if tokens > 1 else ''} of an image "
            f"of {image_size} px; {advice}"
        )
    if batch_is_split and has_batch_norm(model):
        told.append(
            f"the backbone {backbone} has BatchNorm: its statistics are those of the part of a "
            "batch that a rank or a micro-batch holds, so the "
            "number of ranks and micro_batch change the weights; a backbone with LayerNorm or "
            "GroupNorm does not feel it"
        )
    return told


def _better_patch(backbone: str, image_size: int, tokens: int) -> tuple[int, int] | None:
    """(patch size, patches that it gives) next to GOOD_TOKENS, of what the architecture takes; None
    where nothing gives more than now.
    """
    fits = [p for p in range(1, image_size + 1) if image_size % p == 0]
    side = min(fits, key=lambda p: (abs(math.log((image_size / p) ** 2 / GOOD_TOKENS)), p))
    try:
        found = num_tokens(build_encoder(backbone, image_size, seed=0, patch_size=side))
    except InputError:
        return None
    return (side, found) if found is not None and found > tokens else None


def save_encoder(
    folder: Path,
    encoder: nn.Module,
    *,
    backbone: str,
    image_size: int,
    patch_size: int | None = None,
) -> None:
    """encoder.safetensors and encoder.json in `folder`, which the caller renames into place.

    `encoder` is what `build_encoder` made of these words.
    """
    args = dict(encoder.model_args)  # type: ignore[arg-type]
    assert patch_size is None or args.get("patch_size") == patch_size, (
        "the encoder was built with other patches"
    )
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()},
        folder / "encoder.safetensors",
    )
    about = {
        "backbone": backbone,
        "architecture": architecture(backbone),
        "image_size": image_size,
        "model_args": args,
        "num_features": int(encoder.num_features),  # type: ignore[arg-type]
    }
    about["sha256"] = file_sha256(folder / "encoder.safetensors")
    (folder / "encoder.json").write_text(json.dumps(digests.sealed(about), sort_keys=True) + "\n")


def load_encoder(folder: str | Path) -> nn.Module:
    """The encoder in an arm's folder, as a timm module in eval mode.

    Raises InputError for a missing or damaged one.
    """
    return _loaded(Path(folder), None)


def _loaded(folder: Path, sha256: str | None) -> nn.Module:
    """`load_encoder`; `sha256`: of its weights, where it is known."""
    weights = folder / "encoder.safetensors"
    try:
        about = digests.read_record(folder / "encoder.json")
        written = about.get("sha256")
        if written is not None and written != (sha256 or file_sha256(weights)):
            raise ValueError("encoder.safetensors is not what was written")
        _check_size(about)
        digests.check_safetensors(weights)
        tensors = load_file(weights)  # whose header promises no more than the file has
        model = build_encoder(
            about["architecture"], about["image_size"], seed=0, patch_size=_patch_of(about)
        )
        model.load_state_dict(tensors)
    except Exception as error:  # timm's, torch's and safetensors' are of many kinds
        raise InputError(
            f"{folder}: holds no readable encoder ({' '.join(str(error).split())[:200]}); remove "
            "the folder to train it again"
        ) from None
    return model.eval()


def _check_size(about: dict[str, Any]) -> None:
    """Raises ValueError for sizes that would be allocated and that Headwater never writes: of a ViT
    each patch has a place in memory, and a place embedding.
    """
    size, patch = about["image_size"], (about.get("model_args") or {}).get("patch_size", 1)
    if type(size) is not int or not 0 < size <= _MOST_SIDE or size // patch > _MOST_SIDE:
        raise ValueError(f"images of {size} px in patches of {patch}")


_MOST_SIDE = 1024
"""Pixels, or patches, on a side: as in a study."""


def _patch_of(about: dict[str, Any]) -> int | None:
    """The patch size in an encoder.json; files that have no `model_args` are of encoders with
    patches of their own size.

    Raises ValueError for arguments that Headwater never writes: timm would obey them, and some of
    its arguments load files.
    """
    args = about.get("model_args", {})
    if not set(args) <= {"img_size", "patch_size"} or not all(
        type(value) is int and value > 0 for value in args.values()
    ):
        raise ValueError(f"model_args {args} are none of ours")
    if args.get("img_size", about["image_size"]) != about["image_size"]:
        raise ValueError(f"img_size {args['img_size']} is not the image_size {about['image_size']}")
    patch_size: int | None = args.get("patch_size")
    return patch_size


def trained_encoder(folder: Path, sha256: str) -> nn.Module:
    """The encoder of a finished arm.

    Raises InputError where its bytes are not those that were trained: a flipped bit would pass for
    a result.
    """
    weights = folder / "encoder.safetensors"
    if not weights.is_file() or file_sha256(weights) != sha256:
        raise InputError(
            f"{weights}: is missing or damaged; remove the folder, and the next run trains this "
            "arm again"
        )
    return _loaded(folder, sha256)


def forward_flops(module: nn.Module, image_size: int) -> float:
    """FLOPs (multiply-add = 2) of one image's forward pass, counted by torch: matrix products and
    convolutions, attention's two among them.

    Attention runs as plain matrix products meanwhile: torch counts these in every version and on
    every device, its fused kernels not.
    """
    image = torch.zeros(1, 3, image_size, image_size, device=next(module.parameters()).device)
    return counted_flops(module, lambda: module(image))


def counted_flops(module: nn.Module, call: Callable[[], object]) -> float:
    """FLOPs of a call of something around `module`, which is in evaluation mode meanwhile: counted
    as in `forward_flops`.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    was_training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        call()
    module.train(was_training)
    return float(counter.get_total_flops())
