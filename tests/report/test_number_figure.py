from sample import sheet_of

from headstart.report import number_figure


def test_the_truth_lies_across_and_what_is_predicted_up(monkeypatch):
    sheet = sheet_of(monkeypatch, number_figure, lambda: number_figure.predicted_against_true(((1.0, 3.0), (2.0, 5.0))))
    [ax] = sheet.figure.axes
    assert (list(ax.lines[-1].get_xdata()), list(ax.lines[-1].get_ydata())) == ([1.0, 2.0], [3.0, 5.0])
    assert ax.get_xlabel() == "true" and [text.get_text() for text in sheet.figure.texts] == ["predicted"]
