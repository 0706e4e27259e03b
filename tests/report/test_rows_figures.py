from dataclasses import replace

from matplotlib.colors import to_rgba
from sample import sheet_of

from headstart.records import Estimate, NeighbourRows, SharePoint
from headstart.report import rows_figures
from headstart.report.svg import ACCENT, SOFT


def test_the_number_of_rows_nearest_to_the_chosen_stands_out(monkeypatch):
    curve = tuple(SharePoint(rows, Estimate(0.5 + rows / 100, 0.4, 0.9, 24)) for rows in (0, 5, 20))
    rows = NeighbourRows("sure", (), 7, True, (), curve, (), (), (), ())
    sheet = sheet_of(monkeypatch, rows_figures, lambda: rows_figures.rows_curve(rows, "accuracy"))
    [ax] = sheet.figure.axes
    assert [line.get_color() for line in ax.lines[1:]] == [SOFT, ACCENT, SOFT]
    assert sorted(sheet.tips.values())[0].startswith("0 source rows: 0.500")


def test_chosen_rows_are_coloured_by_what_was_chosen_and_where_that_is_unknown_none(monkeypatch):
    rows = NeighbourRows("sure", (), 3, True, (), (), (4, 0, 5), (), (), (), histogram_chosen=(1, 0, 2))
    drawn = {}
    for name, of in (("known", rows), ("unknown", replace(rows, histogram_chosen=()))):
        [ax] = sheet_of(monkeypatch, rows_figures, lambda of=of: rows_figures.rows_spread(of)).figure.axes
        bars = [(bar.get_facecolor(), bar.get_y(), bar.get_height()) for bar in ax.patches if bar.get_height()]
        drawn[name] = [(colour == to_rgba(ACCENT), low, height) for colour, low, height in bars]
    assert drawn["known"] == [(True, 0, 1), (False, 1, 3), (True, 0, 2), (False, 2, 3)]
    assert drawn["unknown"] == [(False, 0, 4), (False, 0, 5)]
