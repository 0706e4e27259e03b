from sample import sheet_of

from headstart.records import Estimate, NeighbourRows, SharePoint
from headstart.report import rows_figures
from headstart.report.svg import ACCENT, SOFT


def test_the_number_of_rows_that_was_chosen_stands_out(monkeypatch):
    curve = tuple(SharePoint(rows, Estimate(0.5 + rows / 100, 0.4, 0.9, 24)) for rows in (0, 5, 20))
    rows = NeighbourRows("sure", (), 5, True, (), curve, (), (), (), ())
    sheet = sheet_of(monkeypatch, rows_figures, lambda: rows_figures.rows_curve(rows, "accuracy"))
    [ax] = sheet.figure.axes
    assert [line.get_color() for line in ax.lines[1:]] == [SOFT, ACCENT, SOFT]
    assert sorted(sheet.tips.values())[0].startswith("0 source rows: 0.500")
