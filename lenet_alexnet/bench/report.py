"""What was measured, for JSON and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lenet_alexnet.bench.measure import Measured, ratio

# Which of our subjects is compared with the limits and the peer, and with which other one.
COMPARED = {
    "lenet5": (1, 0),
    "alexnet": (1, 0),
    "cifar": (1, 0),
    "input": (3, 2),
    "sweep": (1, 0),
    "log": (1, 0),
    "scaling": (0, None),  # The limits are of one device; the others are compared with the first.
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Rates measured in turns: our subjects, the peer's, and the machine's two limits.

    Attributes:
      flops: of one training image.
      touched: bytes per image that the operations of a step touch; None: not measured.
      measured: the `ours` subjects of ours first, the limits (GEMM, copy) last.
    """

    subject: str
    batch: int
    precision: str
    flops: int
    touched: float | None
    measured: Sequence[Measured]
    ours: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON: rates, shares of the limits, ratios."""
        *measured, gemm, copy = self.measured
        which, other = COMPARED[self.subject]
        main, peers = measured[which], measured[self.ours :]
        if other is None:
            pairs = [(one, main) for one in measured[1:]]
        else:
            pairs = [(main, measured[other]), *((main, peer) for peer in peers)]
        found = {
            "subject": self.subject,
            "batch": self.batch,
            "precision": self.precision,
            "flops_per_image": self.flops,
            "rates": [self._rate(one) for one in measured],
            "limits": {"gemm": gemm.as_dict(), "copy": copy.as_dict()},
            "share_of_gemm": self.flops * ratio(main, gemm)["median"],
            "ratios": [
                {"of": a.subject.name, "to": b.subject.name, **ratio(a, b)} for a, b in pairs
            ],
        }
        if self.touched:
            found["bytes_per_image"] = self.touched
            found["share_of_copy"] = self.touched * ratio(main, copy)["median"]
        if peers:
            # Against the peer's best form, chosen by its median.
            best = max(peers, key=lambda peer: peer.as_dict()["rate"])
            found["peer"] = {"best": best.subject.name, **ratio(main, best)}
        return found

    def _rate(self, one: Measured) -> dict[str, Any]:
        found = one.as_dict()
        if one.subject.unit == "images":
            found["flops_per_second"] = found["rate"] * self.flops
        return found


def heading(everything: dict[str, Any]) -> str:
    """The machine and the versions in two lines."""
    machine, versions = everything["machine"], everything["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = f"{machine['cpu']}, {machine['cores']} cores, on {machine['device']}"
    return f"{where}; loops in C++: {machine['native']}\n{named}"


def as_table(found: dict[str, Any]) -> str:
    """One measurement as a table."""
    rows = [["", "rate", "lowest", "highest", "GFLOP/s"]]
    for one in [*found["rates"], *found["limits"].values()]:
        scale, unit = (1, one["unit"]) if one["rate"] < 1e8 else (1e9, f"G{one['unit']}")
        numbers = [f"{one[key] / scale:,.1f}" for key in ("rate", "lowest", "highest")]
        flops = one.get("flops_per_second")
        rows.append([f"{one['name']} ({unit})", *numbers, f"{flops / 1e9:,.1f}" if flops else ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    load = "-".join("?" if n is None else f"{n:.1f}" for n in found["load"])
    title = f"{found['subject']}, batch {found['batch']}, {found['precision']}"
    lines = [f"{title} ({found['clock']} seconds, load {load})"]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    lines += [
        f"{one['of']} / {one['to']}: {one['median']:.2f} ({one['lowest']:.2f} .. "
        f"{one['highest']:.2f})"
        for one in found["ratios"]
    ]
    lines += [
        f"{one['devices']} devices: efficiency {one['efficiency']:.2f}, each sends "
        f"{one['sent_bytes'] / 1e6:,.1f} MB a step"
        for one in found.get("scaling", ())
    ]
    share = f"{100 * found['share_of_gemm']:.0f} % of the GEMM rate"
    if "share_of_copy" in found:
        share += (
            f"; operations touch {found['bytes_per_image'] / 1e6:,.2f} MB an image, "
            f"{100 * found['share_of_copy']:.0f} % of the copy rate"
        )
    return "\n".join([*lines, share, *found["notes"]])
