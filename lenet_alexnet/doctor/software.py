"""The versions of Python and of the packages, and the extras that are installed."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator

from lenet_alexnet import __version__
from lenet_alexnet.doctor.finding import Finding

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
BROKEN_JAXLIB = "0.10.2"  # jax-ml/jax#39103
EXTRAS = {  # module -> (extra, what needs it)
    "tensorflow_datasets": ("data", "data prepare, and reading what it prepares"),
    "matplotlib": ("plots", "report and the figures of reproduce"),
    "optuna": ("search", "sweep --search"),
    "submitit": ("slurm", "sweep --executor=slurm"),
    "tensorboardX": ("tensorboard", "log.to=tensorboard"),
    "wandb": ("wandb", "log.to=wandb"),
    "mlflow": ("mlflow", "log.to=mlflow"),
    "torch": ("torch", "bench --peer=torch"),
}


def examine() -> Iterator[Finding]:
    """Versions, a jaxlib that is known to compute wrong results, and extras."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    yield Finding(
        kind="ok",
        subject="versions",
        text=f"lenet-alexnet {__version__}, Python {platform.python_version()}, {versions}",
    )
    if found["jaxlib"] == BROKEN_JAXLIB:
        yield Finding(
            kind="fails",
            subject="jaxlib",
            text=f"{BROKEN_JAXLIB} silently computes wrong results on CPUs (jax-ml/jax#39103)",
            mend="pip install 'jax!=0.10.2' 'jaxlib!=0.10.2'",
        )
    if found["jax"].split(".")[:2] != found["jaxlib"].split(".")[:2]:
        yield Finding(
            kind="fails",
            subject="jaxlib",
            text=f"jax {found['jax']} does not fit jaxlib {found['jaxlib']}",
            mend=f"pip install 'jaxlib=={found['jax']}'",
        )
    absent = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
    present = [name for name in EXTRAS if name not in absent]
    without = "; ".join(f"{EXTRAS[name][0]} ({EXTRAS[name][1]})" for name in absent)
    text = f"installed: {', '.join(present) or 'none'}" + (f"; not: {without}" if without else "")
    extras = ",".join(EXTRAS[name][0] for name in absent)
    mend = f"where needed: pip install 'lenet-alexnet[{extras}]'" if absent else ""
    yield Finding(kind="ok", subject="extras", text=text, mend=mend)
