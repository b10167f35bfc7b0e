"""Writing the report of a run: its figures, as far as their data is available, and the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_alexnet import plots
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.report import curves, errors, kernels, maps, neighbours, times
from lenet_alexnet.report.page import Section, as_html
from lenet_alexnet.report.subject import Subject
from lenet_alexnet.runs import wall_time
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime import console, storage

WITHOUT_DATA = ("curves", "kernels")  # The rest of a report needs images.


def write(
    workdir: Path, *, split: str = "", checkpoint: str = "auto", data_dir: str = ""
) -> list[Path]:
    """Writes WORKDIR/report.html and WORKDIR/report/*.png; returns the figures.

    A figure that cannot be drawn is reported in a line, also on the page: without the run's data,
    all except the curves and the kernels.

    Args:
      workdir: a run's folder.
      split: train, validation or test; "" is test, or validation if there is no test split.
      checkpoint: best | last | auto, see `evaluate.evaluate_workdirs`.
      data_dir: where the data is now, if it was moved.

    Raises:
      UsageError: no matplotlib, no run, no such split. DataError: no checkpoint or data.
    """
    try:
        plots.pyplot()
    except ModuleNotFoundError as error:
        raise UsageError(plots.MISSING) from error
    subject = Subject(workdir, split=split, checkpoint=checkpoint, data_dir=data_dir)
    missing = _missing(subject, named=bool(data_dir))
    folder = workdir / "report"
    folder.mkdir(exist_ok=True)
    model, params = subject.run.model, subject.run.variables["params"]
    parts: list[tuple[str, str, Callable[[], Section]]] = [
        ("curves", "Learning curves", lambda: curves.draw(workdir, _unit(subject), folder)),
        (
            "kernels",
            "First-layer kernels",
            lambda: kernels.draw(model, params, subject.layers[0], folder),
        ),
        ("maps", "Feature maps", lambda: maps.draw(subject, folder)),
        ("errors", "Misclassified images", lambda: errors.draw_images(subject, folder)),
        ("confusion", "Confusion matrix", lambda: errors.draw_confusion(subject, folder)),
        ("reject", "Reject curve", lambda: errors.draw_reject(subject, folder)),
        ("top5", "Top-5 answers", lambda: neighbours.draw_top(subject, folder)),
        ("neighbours", "Nearest neighbours", lambda: neighbours.draw_nearest(subject, folder)),
    ]
    if (workdir / wall_time.NAME).exists():
        parts.append((times.KEY, times.TITLE, lambda: times.tabulate(workdir)))
    sections = []
    for key, title, draw in parts:
        # An old figure must not be taken for a new one.
        (folder / f"{key}.png").unlink(missing_ok=True)
        try:
            if missing and key not in (*WITHOUT_DATA, times.KEY):
                sections.append(Section(key, title, [f"Not drawn: {missing}."]))
            else:
                sections.append(draw())
        except LenetAlexnetError as error:
            console.say(f"{title.lower()}: not drawn: {error}")
            sections.append(Section(key, title, [f"Not drawn: {error}."]))
    config = subject.run.config.to_json_best_effort(indent=1)
    title, lead, facts = _head(subject, missing)
    page = as_html(title, lead, facts, sections, config)
    with storage.written_whole(workdir / "report.html", encoding="utf-8") as file:
        file.write(page)
    return [section.figure for section in sections if section.figure]


def _missing(subject: Any, *, named: bool) -> str:
    """Why the split's images are missing ("": they are not); raises it if `named`."""
    try:
        len(subject.data)
    except LenetAlexnetError as error:
        if named:
            raise
        console.say(f"without its data, only {' and '.join(WITHOUT_DATA)} are drawn: {error}")
        return str(error)
    return ""


def _unit(subject: Any) -> str:
    """The unit of the loss."""
    softmax = subject.run.config.train.loss.name == "softmax"
    return "cross-entropy, nats per image" if softmax else "loss per image"


def _head(subject: Any, missing: str) -> tuple[str, str, list[tuple[str, str]]]:
    """The title, one sentence, and the run's numbers; its data may be missing."""
    run, config = subject.run, subject.run.config
    data = config.data.name if config.data.source == "tfds" else config.data.source
    record = read_json(subject.workdir / "run.json")
    summary = subject.workdir / "summary.json"
    ended = read_json(summary, "status")["status"] if summary.exists() else "has not ended"
    lead, numbers = f"Drawn without the {subject.split} images ({missing}),", []
    if not missing:
        result, errors = subject.result, int(subject.answers.wrong.sum())
        error, examples = f"{100 * result['top1_error']:.2f} %", result["examples"]
        lead = f"{errors:,} errors on {examples:,} {subject.split} images: {error},"
        numbers = [
            ("error", f"{error} ({errors:,} of {examples:,})"),
            ("top-5 error", f"{100 * result['top5_error']:.2f} %"),
            ("loss", f"{result['loss']:.4f}"),
        ]
    lead += f" by the {run.chosen} checkpoint, after {run.step:,} steps."
    facts = [
        ("split", subject.split),
        *numbers,
        ("checkpoint", f"{run.chosen}, step {run.step:,}"),
        ("training", f"{config.train.duration}, seed {config.seed}: {ended}"),
        ("trained at commit", str(record.get("git_commit"))),
        ("folder", str(subject.workdir)),
    ]
    return f"{config.model.name} on {data}", lead, facts
