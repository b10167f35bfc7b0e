"""`train_and_evaluate`: one run, with all its side effects in a fixed order."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.config.options import setting
from lenet_alexnet.data import duplicates
from lenet_alexnet.errors import Diverged
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import Callback, Follower, MetricsLog
from lenet_alexnet.runs.wall_time import COMPILE, STEPS, WallTime
from lenet_alexnet.runtime.console import first_process, say
from lenet_alexnet.runtime.processes import require_same
from lenet_alexnet.sinks.libraries import require
from lenet_alexnet.sinks.sink import OfSweep
from lenet_alexnet.training import conv_form, fingerprint, longer, warm_start
from lenet_alexnet.training.compiled import compile_run
from lenet_alexnet.training.experiment import Experiment, build
from lenet_alexnet.training.matmul_precision import matmul_precision
from lenet_alexnet.training.passed import NONE, Passed
from lenet_alexnet.training.profile import Profile, Span, cut_at
from lenet_alexnet.training.progress import Progress
from lenet_alexnet.training.run_log import costs, create_sinks
from lenet_alexnet.training.schedule import follow
from lenet_alexnet.training.single_run import SingleRun
from lenet_alexnet.training.warm_start import WarmStart


def train_and_evaluate(
    config: Any,
    workdir: Path,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    devices: int = 0,
    allow_other_bits: bool = False,
    objects: Passed = NONE,
    began: float | None = None,
    sweep: OfSweep | None = None,
    span: Span | None = None,
) -> dict[str, Any]:
    """Trains the network of `config` in `workdir`, resuming from its newest checkpoint.

    Args:
      config, workdir: of the run, see `config/`; its folder.
      stop_requested: called before every dispatch.
      devices: how many share each batch, see `experiment.build`.
      allow_other_bits: a run may resume even if its numbers would not be the same bits.
      objects: what replaces parts of the config, and functions that get the lines of the log.
      began: `time.monotonic()` from which on the wall time is the run's; None: now.
      sweep, span: the sweep that the run is a trial of; the steps that are traced in profile/.

    Returns the summary, which is also written.

    Raises:
      UsageError: `workdir` holds another run, or cannot resume to the same bits here.
      Interrupted: `stop_requested` became true; everything is saved.
      Diverged: the loss or a parameter became NaN or infinite.
    """
    began = time.monotonic() if began is None else began
    require(setting(config, "log.to"))
    require_same("config", fingerprint.of_program(config) | {"--profile": span})
    # Only the first process writes; all of them read.
    with lock.hold(workdir) if first_process() else contextlib.nullcontext() as held:
        run = RunDirectory(workdir, config, writes=first_process(), held=held, may_grow=True)
        done = run.summary()
        completed = bool(done and done["status"] == "completed")
        if done and completed and not run.former_duration:
            say(f"{workdir} is complete already: nothing to train")
            return done
        begun = run.begun()
        with matmul_precision(config), run.outcome(), fingerprint.as_begun(begun) as loops_used:
            form = conv_form.choose(config, begun, devices)
            built = build(
                config, devices=devices, read=objects.read, model=objects.model, form=form
            )
            experiment = cut_at(span, built)
            start = cache(partial(warm_start.read, config, experiment))
            facts = fingerprint.facts(fingerprint.of_data(experiment), begun, form)
            if not warm_start.resume([workdir]):
                facts |= warm_start.fact(start())
            require_same("data", facts["data"] | {"init_from": facts.get("init_from")})
            fingerprint.check(workdir, begun, facts, allow=allow_other_bits)
            if run.former_duration:
                facts |= longer.grow(run, config, experiment, facts, completed=completed)
            run.begin(experiment.train_data.class_names, experiment.statistics, facts)
            how = {"began": began, "stop_requested": stop_requested, "callbacks": objects.callbacks}
            with _followed(run, config, experiment, sweep, span, **how) as ready:
                return _train(ready, start, loops_used)


@contextlib.contextmanager
def _followed(
    out: RunDirectory,
    config: Any,
    e: Experiment,
    sweep: OfSweep | None,
    span: Span | None,
    **how: Any,
) -> Iterator[SingleRun]:
    """As `opened`, with the copies of the log and the trace."""
    trace = Profile(span, out.folder / "profile")
    with (
        create_sinks(config, out.folder, sweep) as sinks,
        trace,
        opened(out, config, e, followers=[sinks], trace=trace, **how) as run,
    ):
        yield run


@contextlib.contextmanager
def opened(
    out: RunDirectory,
    config: Any,
    e: Experiment,
    *,
    began: float,
    stop_requested: Callable[[], bool],
    callbacks: Sequence[Callback] = (),
    followers: Sequence[Follower] = (),
    trace: Profile | None = None,
) -> Iterator[SingleRun]:
    """A run with its functions compiled, and its log and checkpoints open in its folder.

    Args:
      out: the run's folder.
      config, e: of the run.
      began, stop_requested: see `train_and_evaluate`.
      callbacks, followers: get the lines of the log.
      trace: of some steps.
    """
    writes, path = first_process(), out.folder / "metrics.jsonl"
    with (
        WallTime([out.folder] if writes else [], began) as times,
        MetricsLog(path, writes=writes, callbacks=callbacks, followers=followers) as metrics,
        Checkpoints(
            out.folder / "checkpoints",
            config.checkpoint.keep,
            minutes=config.checkpoint.minutes,
            check=out.check,
        ) as checkpoints,
    ):
        _announce(config, e)
        with times.spent_on(COMPILE):
            compiled, state = compile_run(config, e)
        with contextlib.closing(compiled.feed):
            yield SingleRun(
                config,
                e,
                out,
                times=times,
                metrics=metrics,
                checkpoints=checkpoints,
                compiled=compiled,
                state=state,
                stop_requested=stop_requested,
                profile=trace or Profile(None, out.folder),
            )


def _train(
    run: SingleRun,
    start: Callable[[], WarmStart | None],
    loops_used: Callable[[], bool | None],
) -> dict[str, Any]:
    """Restores or starts, trains, evaluates; the summary is written at any end."""
    require_same("program", {"loops in C++": loops_used()})
    run.out.note_loops(loops_used())
    run.restore(start)
    e, status = run.experiment, "interrupted"
    with Progress(e.schedule.total, run.step, e.steps_per_epoch) as run.progress:
        try:
            with jax.transfer_guard("disallow"), run.times.spent_on(STEPS):
                run.catch_up(run.out.begun().get("ended", ()))
                _follow_to_the_end(run)
                run.finish()
            status = "completed"
        finally:  # `RunDirectory.outcome` records any other end.
            run.checkpoints.wait()
            summary = _summary(run, status)
            run.out.write_summary(summary)
    return summary


def _announce(config: Any, e: Experiment) -> None:
    if e.optimizer.note:
        say(e.optimizer.note)
    for line in duplicates.report(e.train_data, e.eval_data):
        say(line)
    if setting(config, "train.freeze") and not setting(config, "train.init_from"):
        say("warning: train.freeze without train.init_from keeps random weights")
    say(
        f"{config.model.name} on {len(e.train_data):,} images: {e.schedule.total:,} steps of "
        f"{config.train.batch_size} on {jax.devices()[0].device_kind}, seed {config.seed}; "
        "compiling"
    )


def _follow_to_the_end(run: SingleRun) -> None:
    """Runs the whole schedule; after divergence goes back as often as the config allows."""
    completed = False
    while not completed:
        run.clock.start(run.step)
        try:
            completed = follow(run.schedule, run, run.schedule.total)
        except Diverged as error:
            kept = run.checkpoints, run.metrics
            run.go_to(run.back_off.go_back(error, run.experiment, *kept))


def _summary(run: SingleRun, status: str) -> dict[str, Any]:
    images = (run.step - run.first_step) * run.config.train.batch_size
    params = sum(leaf.size for leaf in jax.tree.leaves(run.state.params))
    times = run.times.so_far(run.out.folder)
    found = costs(params, images, run.clock, run.compiled.seconds, times)
    summary = run.log.summary(status, run.step, run.checkpoints.best(), found)
    return summary | ({"back_offs": run.back_off.count} if run.config.train.back_off else {})
