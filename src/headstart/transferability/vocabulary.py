"""Vocabulary: the share of the target's running words that the source's texts know.

Dai et al. 2019, "Using Similarity Measures to Select Pretraining Data for NER" (arXiv 1904.00585), there the target vocabulary covered.
Intuition: what the source's rows teach hangs on words, and counts as often as the target uses them.

Running words, not different ones, for a rare word matters as little as it is used; and a share of the target, not of both sets together
(Jaccard), which would call a large source unlike for all that it knows besides. So the measure has a direction.

Assumed: a word is a run of letters, digits and `_`, whatever its case. Of languages written without spaces a run is a whole clause, and
the share says little.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from headstart.errors import DataError
from headstart.transferability.registry import Estimator, Needs, TextPair

_WORD = re.compile(r"\w+")


def vocabulary(source: Sequence[str], target: Sequence[str]) -> float:
    """The share in [0, 1] of the target's words that occur in the source; greater is nearer.

    Raises:
        DataError: no text of the target has a word.
    """
    counts = Counter(_words(target))
    if not counts:
        raise DataError(f"None of the target's {len(target):,} texts has a word, so its vocabulary cannot be compared; give other texts.")
    known = set(_words(source))
    return sum(count for word, count in counts.items() if word in known) / counts.total()


def _words(texts: Sequence[str]) -> Iterator[str]:
    return (word for text in texts for word in _WORD.findall(text.casefold()))


def _score(given: TextPair) -> float:
    return vocabulary(given.source, given.target)


ESTIMATOR = Estimator(
    name="vocabulary",
    needs=Needs.TEXTS,
    summary="share of the target's running words that the source's texts know",
    paper="Dai et al. 2019, arXiv 1904.00585",
    range=(0.0, 1.0),
    greater_is_better=True,
    score=_score,
)
