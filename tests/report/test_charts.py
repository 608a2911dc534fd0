"""lab/report/charts.py: the charts of the page."""

import math

import pytest
from report_runs import HISTORY

from lab.report import charts

LOSS = "non-saturating"


def test_discriminator_outputs_are_probabilities_with_some_losses_only() -> None:
    notes = {
        loss: [plot["note"] for plot in charts.plots(HISTORY, loss)]
        for loss in (LOSS, "hinge", "?")
    }
    assert any("predicted probability" in note for note in notes[LOSS])
    for loss in ("hinge", "?"):
        assert not any("predicted probability" in note for note in notes[loss])


def test_ticks_are_round_and_inside() -> None:
    assert [text for _, text in charts.linear_ticks(0, 1)] == ["0", "0.5", "1"]
    assert [text for _, text in charts.linear_ticks(0, 3, whole=True)] == ["0", "1", "2", "3"]
    assert [text for _, text in charts.log_ticks(0.5, 2.5)] == ["10", "30", "100", "300"]
    ticks = charts.log_ticks(math.log10(0.9), math.log10(4.2))
    assert [text for _, text in ticks] == ["1", "2", "3", "4"]  # without an overlapping 0.9
    for low, high in ((0.0, 1e-9), (-5.0, 9.0), (math.log10(20), math.log10(21)), (0.0, 1e29)):
        for kind in (charts.linear_ticks, charts.log_ticks)[: 1 if high > 10 else 2]:
            ticks = kind(low, high)
            assert 1 < len(ticks) < 8 and all(
                low <= value <= high * (1 + 1e-9) for value, _ in ticks
            )


def test_curves_and_ticks_rise_with_the_values() -> None:
    plots = {plot["title"]: plot for plot in charts.plots(HISTORY, LOSS)}
    opinions = plots["Discriminator output"]
    labels = {curve["column"]: curve["label"] for curve in opinions["curves"]}
    assert labels == {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"}
    for curve in opinions["curves"]:
        places = [(25 * row["epoch"], 100 * (1 - row[curve["column"]])) for row in HISTORY]
        assert curve["dots"] == [pytest.approx(place) for place in places]  # from left and top
    assert (0.0, "1") in opinions["y_ticks"]
    (quality,) = plots["Quality"]["curves"]  # 90 and 30, on a logarithmic scale
    (_, at_90), (_, at_30) = quality["dots"]
    for place, text in plots["Quality"]["y_ticks"]:
        share = (math.log(float(text)) - math.log(30)) / (math.log(90) - math.log(30))
        assert place == pytest.approx(at_30 + share * (at_90 - at_30), abs=0.01)
    assert at_30 > at_90 and len(plots["Quality"]["y_ticks"]) > 1


def test_thinned_items_are_evenly_spaced_and_keep_both_ends() -> None:
    epochs = range(0, 1200, 5)
    assert charts.evenly_spaced(epochs, 7) == [0, 200, 400, 600, 795, 995, 1195]
    assert charts.evenly_spaced(epochs, 240) == epochs and [*charts.evenly_spaced(epochs, 1)] == [
        1195
    ]
    rows = [{"epoch": float(n), "d_loss": 1.0} for n in range(1, charts.MOST + 3)]
    (plot,) = charts.plots(rows, LOSS)
    places = plot["curves"][0]["points"].split()
    assert len(places) == charts.MOST and places[-1].startswith("100,")


def test_a_constant_history_is_drawn() -> None:
    rows = [{"epoch": 1.0, "d_loss": 0.0, "g_loss": 0.0}]
    (plot,) = charts.plots(rows, LOSS)
    assert "nan" not in plot["curves"][0]["points"]
    assert charts.plots([], LOSS) == []
