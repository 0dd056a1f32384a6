"""LP-FT: fine-tuning from the linear probe of the same cell (Kumar et al. 2022)."""

from __future__ import annotations

from pydantic import field_validator

from headwater.study.words import default
from headwater.transfer.protocols.finetune import ENTRY as FINETUNE
from headwater.transfer.protocols.finetune import Finetune, FinetuneProtocol, HeadInit


class LpFt(Finetune):
    """Fine-tuning from the linear probe of the same cell: so that both starts can stand in one
    study.
    """

    head_init: HeadInit = default("probe", "[paper] Kumar et al. 2022")
    """The probe alone."""

    @field_validator("head_init")
    @classmethod
    def _from_the_probe(cls, value: HeadInit) -> HeadInit:
        if value != "probe":
            raise ValueError("lpft starts from the probe; `finetune` has the other starts")
        return value


class LpFtProtocol(FinetuneProtocol):
    name = "lpft"
    order = 60
    title = "fine-tuning from the probe"
    fits = "as `finetune`, from the probe of the same cell (Kumar et al. 2022)"
    chooses = "as `finetune`; l2 of the probe before"
    costs = "as `finetune`, and a probe"
    words = LpFt
    room = FINETUNE.name
    """It does what fine-tuning does, and its version, too, is that of fine-tuning."""


ENTRY = LpFtProtocol()
