"""What is said of a part, in the same words everywhere: page, report, command line and log."""

from __future__ import annotations

import math

from differnet.decision.verdict import Verdict

SAYS: dict[Verdict | None, str] = {
    "OK": "The part looks good.",
    "review": "A person should look at this part.",
    "NG": "The part looks defective.",
    None: "The model has no threshold to judge by.",
}
_ROUNDING = 1e-9  # of a percent: 100 % is over the limit


def of_limit(
    verdict: str | None, score: float | None, threshold: float | None, review_threshold: float | None
) -> str | None:
    """Say a score in percent of the limit that decided; nothing without one.

    Of a part that is not "NG" it is the limit to review, where there is one. Percent are rounded down, so that 100 %
    is over the limit, as the verdict is.

    >>> of_limit("OK", 50.0, 100.0, 80.0), of_limit("NG", 124.5, 100.0, 80.0)
    ('62 % of the limit to review', '124 % of the limit')
    """
    to_review = verdict != "NG" and review_threshold is not None
    limit = review_threshold if to_review else threshold
    if score is None or limit is None or limit <= 0 or verdict == "error":
        return None
    percent = math.floor(100 * score / limit + _ROUNDING)
    return f"{percent} % of the limit to review" if to_review else f"{percent} % of the limit"


def of_rate(rate: float) -> str:
    """Say what a false-alarm rate means.

    >>> of_rate(0.005)
    'at most 0.5 % of the good parts may be rejected'
    """
    return f"at most {100 * rate:.4g} % of the good parts may be rejected"
