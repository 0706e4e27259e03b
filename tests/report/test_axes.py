from dataclasses import replace

from sample import sample_results

from headstart.records import Estimate
from headstart.report.axes import worthwhile


def test_of_losses_a_hopeless_rung_lies_above_and_does_not_press_the_others_into_a_line():
    best, other, hopeless = (Estimate(value, value - 0.05, value + 0.05, 100) for value in (0.3, 0.5, 9.0))
    results = sample_results()
    results = replace(
        results, metric="log_loss", winner=replace(results.winner, score=best), opponent=replace(results.opponent, score=other)
    )
    low, high = worthwhile([best, other, hopeless], results)
    assert low < 0.25 and 0.55 < high < 1.0
