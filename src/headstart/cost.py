"""What a rung will cost: a count of operations over the machine's speed, corrected by what the run itself measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

# Per weight and token: one multiplication and one addition forwards, twice that backwards.
_FORWARD, _BACKWARD = 2.0, 4.0
# Share of the matrix speed that a training step and a reading pass reach (measured: benchmarks/above_the_cut.py, versus_encode.py).
_TRAINING_SHARE, _READING_SHARE = 0.35, 0.6
_SECONDS_PER_STEP = 0.01
# Light rungs: seconds for a thousand rows with ten classes, before anything was measured.
_LIGHT = {"tfidf": 2.0, "probe": 1.0, "static": 0.5}


@dataclass
class CostModel:
    """Predicts seconds. Speeds are the machine's in operations a second; `corrections` holds measured over predicted by rung that trains
    blocks, `lights` by rung that does not. A machine with other work on it slows all trainings: one that was never run is corrected as
    those that were are on average.
    """

    training_speed: float
    reading_speed: float
    corrections: dict[str, float] = field(default_factory=dict)
    lights: dict[str, float] = field(default_factory=dict)

    def reading(self, tokens: float, weights: float) -> float:
        """Seconds to read so many tokens through so many weights."""
        return tokens * weights * _FORWARD / (self.reading_speed * _READING_SHARE)

    def training(self, rung: str, *, tokens: float, learning: float, frozen: float, steps: int) -> float:
        """Seconds for `steps` steps that show so many tokens in all to `learning` weights; `frozen` weights run forwards only."""
        work = tokens * (learning * (_FORWARD + _BACKWARD) + frozen * _FORWARD) / (self.training_speed * _TRAINING_SHARE)
        return (work + steps * _SECONDS_PER_STEP) * self._correction(rung)

    def light(self, rung: str, rows: int, classes: int) -> float:
        """Seconds of a rung that trains no block."""
        return light_seconds(rung, rows, classes) * self.lights.get(rung, 1.0)

    def learn(self, rung: str, predicted: float, measured: float) -> None:
        """Correct later predictions by what one training took."""
        if predicted > 0 and measured > 0:
            self.corrections[rung] = self._correction(rung) * measured / predicted

    def learn_light(self, rung: str, predicted: float, measured: float) -> None:
        """Correct later predictions of this light rung by what one trial took."""
        if predicted > 0:
            self.lights[rung] = self.lights.get(rung, 1.0) * measured / predicted

    def slow_down(self, times: float, *, training: bool) -> None:
        """Count with reading that is so many times slower (below 1: faster) than it was taken for, and with `training` likewise."""
        self.reading_speed /= times
        if training:
            self.training_speed /= times

    def _correction(self, rung: str) -> float:
        if rung in self.corrections or not self.corrections:
            return self.corrections.get(rung, 1.0)
        return math.exp(sum(map(math.log, self.corrections.values())) / len(self.corrections))


def light_seconds(rung: str, rows: int, classes: int) -> float:
    """Seconds of a rung that trains no block, before any was measured."""
    return 0.1 + _LIGHT.get(rung, 1.0) * rows / 1000 * max(classes, 10) / 10
