"""One result of an examination."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["ok", "slow", "fails"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found.

    Attributes:
      kind: ok; slow: it works, but not as fast as it could; fails: something will not work.
      subject: what was examined, in one or two words.
      text: what was found.
      mend: what to do; "" if nothing.
    """

    kind: Kind
    subject: str
    text: str
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        mend = f"\n{'':<20}mend: {self.mend}" if self.mend else ""
        return f"{self.kind:<6}{self.subject:<14}{self.text}{mend}"
