"""An implementation is looked at: all that a check sees of it, whatever it does."""

import traceback
from pathlib import Path

import numpy as np

from conformance.adapters.guarded import Malformed, NotOffered, Unreadable, as_session
from conformance.adapters.session import Session, Unsupported
from conformance.checks import CHECKS
from conformance.checks.case import Case
from conformance.checks.observation import Lost, Observation, Part, Seen
from conformance.data.wording import one_line


def look(session: Session, case: Case, check: str) -> Seen:
    """What a check sees of a session. Raises nothing that the session did, but KeyboardInterrupt.

    A part that cannot be asked, crashes or returns what cannot be gone on from is lost; all other parts are seen.
    """
    guarded, seen = as_session(session), Seen([], [])
    for part in CHECKS[check].parts(guarded, case):
        try:
            with np.errstate(all="ignore"):  # a training may diverge
                for observation in part.observations:
                    _take(observation, seen)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever it is, SystemExit too
            seen.lost.append(_lost(part, error))
        seen.lost.extend(Lost("fail", one_line(text), *part[1:]) for text in guarded.complaints())
        seen.lost.extend(Lost("missing", one_line(text), *part[1:]) for text in guarded.lacking())
    return seen


def describe_error(error: BaseException) -> str:
    """An error and the place it came from, on one line."""
    trace = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(trace[-1].filename).name}:{trace[-1].lineno})" if trace else ""
    return f"{type(error).__name__}: {_text(error)}{place}"


def _lost(part: Part, error: BaseException) -> Lost:
    if isinstance(error, Unsupported):
        return Lost("unsupported", _text(error), *part[1:])
    if isinstance(error, Malformed):
        return Lost("fail", _text(error), *part[1:])
    return Lost("crashed", describe_error(error), *part[1:])


def _text(error: BaseException) -> str:
    """What an error says, on one line, as text that can be stored."""
    try:
        return one_line(str(error))
    except Exception:  # an error of the error's own
        return "(cannot be told)"


def _take(observation: Observation, seen: Seen) -> None:
    """Add an observation as a plain array, with the text of what is none; what is not offered, as not seen for it."""
    key, value = observation.key, observation.value
    if isinstance(value, NotOffered):
        text = one_line(f"{key.tensor} {value.found}")
        seen.lost.append(Lost("unsupported", text, (key.stage,), key.step, key.tensor))
    elif isinstance(value, Unreadable):
        seen.observations.append(observation._replace(value=np.zeros(0), malformed=one_line(value.found)))
    else:
        seen.observations.append(observation)
