"""Which of the processes of a run are stuck."""

from typing import Any


def judge(states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The processes that are stuck, by the `Watched.state` of all that run; none: the job is well.

    A process that waits for others is ahead of them, so only those that are behind are late; the
    last of them to arrive there counts. One that a signal has stopped may have been ahead.
    """
    least = min(state["count"] for state in states)
    behind = [state for state in states if state["count"] == least]
    late = behind if all(map(_overdue, behind)) else []
    stopped = [state for state in states if state["stopped"]]
    return stopped if late and stopped else late or [*filter(_overdue, stopped)]


def _overdue(state: dict[str, Any]) -> bool:
    return bool(state["quiet"] > state["allowed"])


def describe(stuck: list[dict[str, Any]]) -> str:
    """What is reported of processes that are stuck."""
    named = "; ".join(where(state) for state in stuck)
    why = ", waiting for a disk" if stuck[0]["on disk"] else ""
    why = ", stopped by a signal" if stuck[0]["stopped"] else why
    return f"{named}: no progress for {max(state['quiet'] for state in stuck):.0f} s{why}"


def where(state: dict[str, Any]) -> str:
    """A process and its phase."""
    place = f"process {state['process']} on {state['host']} (pid {state['pid']})"
    return f"{place}, {state['phase']} at step {state['step']:,}"
