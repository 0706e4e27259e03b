"""The source's architecture with random weights, trained on the words of the target alone."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.scratch import RATE
from headstart.strategies.word_training import random_words

STRATEGY = Strategy(
    name="scratch",
    transfers=False,
    needs_source=True,
    summary="the same architecture from random weights",
    fit=lambda job: random_words(job, RATE),
    tunes_from=lambda _job: 0,
)
