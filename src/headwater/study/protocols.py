"""How transfer is measured: the `protocols:` block of a study, made from the registered protocols.

Their words lie with them (headwater.transfer.protocols).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, create_model, model_validator

from headwater.registry import PROTOCOLS
from headwater.study.words import Words

if TYPE_CHECKING:
    from headwater.transfer.protocols import ProtocolWords

ProtocolName = Annotated[str, AfterValidator(PROTOCOLS.known)]

DEFAULT = "probe"
"""What is measured, with its default words, where a study names no protocol."""


class ProtocolsBlock(Words):
    """The protocols that a study asks for: a field for each that is registered, None where it is
    not asked for.
    """

    @model_validator(mode="after")
    def _at_least_one(self) -> ProtocolsBlock:
        if not list(self.items()):
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self

    def items(self) -> Iterator[tuple[str, ProtocolWords]]:
        """(name, words) of the protocols that are asked for, in the order of the registry."""
        for name in type(self).model_fields:
            words = self.named(name)
            if words is not None:
                yield name, words

    def named(self, name: str) -> ProtocolWords | None:
        """The words of a registered protocol; None where it is not asked for."""
        words: ProtocolWords | None = getattr(self, name)
        return words

    def asked(self, name: str) -> ProtocolWords:
        """The words of a protocol that is asked for."""
        words = self.named(name)
        assert words is not None, f"the study does not ask for {name}"
        return words


if TYPE_CHECKING:
    Protocols = ProtocolsBlock
else:
    Protocols = create_model(
        "Protocols",
        __base__=ProtocolsBlock,
        __doc__=ProtocolsBlock.__doc__,
        __module__=__name__,
        **{protocol.name: (protocol.words | None, None) for protocol in PROTOCOLS},
    )


def default_protocols() -> Protocols:
    return Protocols.model_validate({DEFAULT: {}})
