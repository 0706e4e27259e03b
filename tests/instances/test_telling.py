"""What rows of neighbouring data gave, as the report tells it."""

from headstart.instances import telling


def test_what_source_rows_give_is_measured_on_rows_that_were_not_learnt(told):
    job, both = told
    curve = telling._curve(job, both, job.settings)
    assert curve[0].rows == 0 and curve[0].score.value < 0.85 < curve[-1].score.value < 1.0
    [alone] = telling._alone(job, both, job.settings)
    assert alone.value > 0.1 and (alone.winner, alone.opponent) == ("near", "no source rows")
