"""Lines for the person at the terminal: which of them `--quiet` leaves out."""

from headstart import progress


def test_quiet_leaves_out_what_goes_on_and_keeps_what_is_not_as_it_was_asked(capsys):
    for quiet in (False, True):
        progress.set_quiet(quiet)
        progress.say("reading")
        progress.warn("the budget is too short")
    assert capsys.readouterr().err.splitlines() == ["reading", "the budget is too short", "the budget is too short"]
