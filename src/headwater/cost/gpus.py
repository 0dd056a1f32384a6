"""What GPUs can do at most, for the cost of studies that are planned for them."""

from __future__ import annotations

from dataclasses import dataclass

UTILISATION = 0.35
"""Share of a GPU's peak that training reaches, where nobody says otherwise [ours]: Vision
Transformers in bf16 come to 0.3 to 0.5 with good kernels [recalled]. ResNet-50 comes to about 0.2
(2,500 images/s on an A100 [recalled] are 61 of its 312 TFLOP/s), and a small network, or a loader
that is too slow, to less.
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU."""

    name: str
    title: str
    tflops: float
    """Peak of dense matrix products in bf16, or in fp16 where it has no bf16, 10^12 FLOP/s."""
    source: str


_HALVED = "; what it gives with sparsity, halved"
_GPUS = (
    Gpu("v100", "NVIDIA V100 SXM2", 125.0, "NVIDIA V100 data sheet (fp16)"),
    Gpu("t4", "NVIDIA T4", 65.0, "NVIDIA T4 data sheet (fp16)"),
    Gpu("a10", "NVIDIA A10", 125.0, "NVIDIA A10 data sheet"),
    Gpu("a100", "NVIDIA A100 SXM", 312.0, "NVIDIA A100 data sheet"),
    Gpu("l4", "NVIDIA L4", 121.0, f"NVIDIA L4 data sheet{_HALVED}"),
    Gpu("l40s", "NVIDIA L40S", 362.0, "NVIDIA L40S data sheet"),
    Gpu("rtx3090", "NVIDIA RTX 3090", 71.0, "NVIDIA Ampere GA102 paper (fp32 accumulation)"),
    Gpu("rtx4090", "NVIDIA RTX 4090", 165.2, "NVIDIA Ada paper (fp32 accumulation)"),
    Gpu("h100", "NVIDIA H100 SXM", 989.4, f"NVIDIA H100 data sheet{_HALVED}"),
    Gpu("h100-pcie", "NVIDIA H100 PCIe", 756.5, f"NVIDIA H100 data sheet{_HALVED}"),
    Gpu("h200", "NVIDIA H200 SXM", 989.4, f"NVIDIA H200 data sheet{_HALVED}"),
    Gpu("b200", "NVIDIA B200", 2250.0, f"NVIDIA DGX B200 data sheet{_HALVED}"),
    Gpu("mi250x", "AMD MI250X", 383.0, "AMD MI250X data sheet, both dies"),
    Gpu("mi300x", "AMD MI300X", 1307.4, "AMD MI300X data sheet"),
)
GPUS = {gpu.name: gpu for gpu in _GPUS}
"""By name. Peaks are [recalled] from the vendors' sheets."""
DEFAULT_GPU = "h100"
