"""The calls of two runs, or of two arms of one, as baseline and candidate on the same prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.observations import Observations, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AFTER", "BEFORE", "side_by_side"]

BEFORE: Final = "baseline"
AFTER: Final = "candidate"

_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
}
_GENERATED_ID: Final = re.compile(r"[0-9a-f]{12}(-\d+)?")
"""The id of a prompt whose row has none of its own."""


def side_by_side(
    baseline: Any,
    candidate: Any,
    arm: str | None,
    baseline_arm: str | None,
    directions: Mapping[str, bool | None] | None,
) -> Observations:
    """Return the calls of baseline and candidate as two arms."""
    new = _calls(candidate, "candidate")
    of_new = observe(new)
    if isinstance(baseline, str) and (baseline in of_new.arms or Path(baseline).suffix not in _READERS):
        baseline_arm = of_new.arm(baseline)
        old, of_old = new, of_new
        others = [other for other in of_new.arms if other != baseline_arm]
        arm = others[0] if arm is None and len(others) == 1 else arm
    else:
        old = _calls(baseline, "baseline")
        of_old = observe(old)
    frames = [
        _calls_of_arm(old, of_old, baseline_arm, "baseline_arm", excluded=None).assign(arm=BEFORE),
        _calls_of_arm(new, of_new, arm, "arm", excluded=baseline_arm if old is new else None).assign(arm=AFTER),
    ]
    # A file may have turned texts into numbers.
    keys = [
        [frame[name].astype(str) for frame in frames]
        for name in ("prompt_id", "prompt")
        if all(name in frame for frame in frames)
    ]
    if not keys:
        raise bad_request("The prompts of baseline and candidate cannot be matched: both need a column prompt_id.")
    # Until version 4 of the ledger, ids were hashes of the text, and none is an id of today: then the texts match.
    generated = all(each.str.fullmatch(_GENERATED_ID).all() for each in keys[0])
    matching = keys[-1] if generated and not keys[0][0].isin(keys[0][1]).any() else keys[0]
    frames = [frame.assign(prompt_id=key) for frame, key in zip(frames, matching, strict=True)]
    both = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    both.attrs["directions"] = {**old.attrs.get("directions", {}), **new.attrs.get("directions", {})}
    return observe(both, directions)


def _calls(given: Any, role: str) -> pd.DataFrame:
    if not isinstance(given, str | Path):
        return cast("pd.DataFrame", getattr(given, "calls", given))  # if it is not, observe says so
    path = Path(given)
    if path.suffix not in _READERS:
        raise bad_request(f"The {role} {str(path)!r} is not a file of calls: save one as .parquet, .csv or .jsonl.")
    if not path.is_file():
        raise bad_request(f"The {role}'s file {str(path)!r} does not exist.")
    try:
        return _READERS[path.suffix](path)
    except ImportError:
        raise bad_request(
            "Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]', or save the "
            f"{role} as .csv or .jsonl."
        ) from None
    except (OSError, ValueError) as exc:  # pandas' and pyarrow's own errors are among them
        raise bad_request(f"The {role} {path.name!r} cannot be read: {exc}") from None


def _calls_of_arm(
    calls: pd.DataFrame, observed: Observations, arm: str | None, parameter: str, excluded: str | None
) -> pd.DataFrame:
    """Return the calls of one arm."""
    arms = [label for label in observed.arms if label != excluded]
    if arm is None:
        if len(arms) != 1:
            raise bad_request(f"There are several arms ({', '.join(arms)}): choose one with {parameter}=….")
        arm = arms[0]
    arm_column = "arm" if "arm" in calls.columns else "model"
    return calls[calls[arm_column].astype(str) == observed.arm(arm)]
