"""ROUGE-L: how much of a text stands in another in the same order (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries").

The F1 of the longest common subsequence of words, lower case, without punctuation; no stemming. Signs of scripts without spaces are words
each by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.judge.answer_match import WORD


def rouge_l(said: str, true: str) -> float:
    """The F1 of the longest common subsequence of words, in [0, 1]; 0 where either text has none."""
    first, second = WORD.findall(said.lower()), WORD.findall(true.lower())
    if not first or not second:
        return 0.0
    return 2.0 * common_length(first, second) / (len(first) + len(second))


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for one in first:
        before = 0
        for j, other in enumerate(second, start=1):
            above = row[j]
            row[j] = before + 1 if one == other else max(above, row[j - 1])
            before = above
    return row[-1]
