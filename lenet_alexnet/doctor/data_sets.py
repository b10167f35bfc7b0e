"""The prepared data sets on this machine."""

from collections.abc import Iterator
from pathlib import Path

from lenet_alexnet.data import extra
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.doctor.finding import Finding
from lenet_alexnet.errors import LenetAlexnetError


def examine(data_dir: str = "") -> Iterator[Finding]:
    """One finding for each prepared data set below `data_dir` ("": the default folder)."""
    root = Path(data_dir).expanduser() if data_dir else prepared.default_dir()
    found = prepared.folders(str(root))
    for name, folder in found.items():
        try:
            sizes = prepared.sizes(folder)
        except LenetAlexnetError as error:
            mend = f"lenet-alexnet data prepare {name} --data_dir={root}"
            if extra.missing():
                mend = extra.INSTALL
            yield Finding(kind="fails", subject="data", text=f"{name}: {error}", mend=mend)
        else:
            counts = ", ".join(f"{split} {count:,}" for split, count in sizes.items())
            yield Finding(kind="ok", subject="data", text=f"{name}: {counts}")
    if not found:
        yield Finding(
            kind="ok",
            subject="data",
            text=f"no prepared data sets in '{root}'; the quickstart needs none",
            mend="lenet-alexnet data prepare mnist",
        )
