"""Figures and reports: they draw what was measured, say what was found, and need nothing from outside."""

import dataclasses
import errno
import html.parser
import math
import os
import sys

import jax
import numpy as np
import pytest

from manifold_diffusion.studies import (
    Check,
    Claim,
    Experiment,
    Grid,
    StudyError,
    Table,
    claim_figure,
    samples_figure,
    separation_figure,
    verify,
)
from manifold_diffusion.studies.figure import png
from manifold_diffusion.studies.palette import colours, markers
from tests.studies.toy import claim, power


def drawn(figure):
    """The lines of a figure by label."""
    return {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}


def figure_of(subject, scale="smoke"):
    study = verify([subject], scale)
    return claim_figure(subject, study.results, study.cells), study


def test_a_rate_is_drawn_at_its_replicate_means_with_the_fit_and_the_expected_slope():
    figure, study = figure_of(claim())
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    means = [
        np.mean([c.values["distance"] for c in study.cells if c.method == "coarse p=1" and c.size == size])
        for size in (10, 20, 40, 80)
    ]
    points = next(line for label, line in drawn(figure).items() if "coarse p=1: slope" in label)
    np.testing.assert_allclose(points.get_ydata(), means)
    lines = [line for line in axes.get_lines() if line.get_color() == points.get_color()]
    slopes = {
        line.get_linestyle(): np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0] for line in lines
    }
    assert slopes["-"] == pytest.approx(study.results[0].statistic.value)
    assert slopes["--"] == pytest.approx(-2.0)
    assert "−2" in [text.get_text() for text in axes.texts]
    assert len(axes.collections) == 2


def test_a_level_is_drawn_with_every_cell_and_the_allowed_values():
    figure, _ = figure_of(claim())
    axes = figure.axes[1]
    points = max(axes.get_lines(), key=lambda line: len(line.get_xdata()))
    assert len(points.get_xdata()) == 4 * 5
    allowed = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert allowed.y0 == pytest.approx(0.5)
    assert allowed.y1 == pytest.approx(axes.get_ylim()[1])


def test_verdicts_are_in_the_legend():
    figure, _ = figure_of(claim())
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [label[0] for label in labels] == ["✓", "✗"]


def test_a_claim_without_a_single_value_is_drawn_all_the_same(tmp_path):
    def broken(key, size):
        raise RuntimeError("broken")

    study = verify([claim(measure=broken)], "smoke", out=tmp_path)
    assert study.manifest["not_drawn"] == []
    assert (tmp_path / "figures" / "T1.png").exists()
    assert "RuntimeError: broken (40 cells" in (tmp_path / "report.md").read_text()


def test_a_figure_that_fails_does_not_lose_the_study(tmp_path):
    def fails(claim, results, cells):
        raise RuntimeError("no ink")

    study = verify([claim(figure=fails)], "smoke", out=tmp_path)
    assert study.manifest["not_drawn"] == ["T1: RuntimeError: no ink"]
    assert study.rows[0]["figure"] is None
    assert "no ink" in (tmp_path / "report.html").read_text()


def test_the_same_figure_gives_the_same_bytes():
    subject = claim()
    study = verify([subject], "smoke")
    first, second = (png(claim_figure(subject, study.results, study.cells)) for _ in range(2))
    assert first == second


def test_figures_leave_pyplot_alone():
    """No state outside the figure: pyplot need not even be imported."""
    import subprocess

    code = """
import sys
from tests.studies.toy import claim
from manifold_diffusion.studies import verify, claim_figure
assert "matplotlib" not in sys.modules
study = verify([claim()], "smoke")
claim_figure(claim(), study.results, study.cells)
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=os.getcwd())


def test_memorising_and_coarse_methods_have_their_colours_everywhere():
    shades = colours(["coarse p=1", "coarse p=2", "coarse p=3", "memoriser", "held-out", "anything"])
    assert shades["memoriser"] == colours(["memorised"])["memorised"] == "#D55E00"
    assert shades["coarse p=2"] == colours(["coarse"])["coarse"] == "#0072B2"
    assert len(set(shades.values())) == 6
    assert colours(["p=1", "p=2", "p=3"])["p=2"] == "#0072B2"
    assert len(set(markers(["coarse p=1", "coarse p=2", "coarse p=3"]).values())) == 3
    # More kinds than hues: a hue that comes again has another marker.
    many = [f"method{i}" for i in range(12)]
    assert len(set(zip(colours(many).values(), markers(many).values(), strict=True))) == 12


@pytest.mark.parametrize(
    ("sizes", "labels"),
    [
        ((512, 8192), ["512", "8192"]),
        ((64_000, 1e6), ["64k", "1M"]),
        ((1e9, 1e11), ["1G", "100G"]),
        ((0.01, 3), ["0.01", "3"]),
    ],
)
def test_sizes_on_an_axis_are_short(sizes, labels):
    checks = (Check("curve", "coarse p=1", "ratio", "mean", 1, 1),)
    figure, _ = figure_of(claim(sizes=sizes, checks=checks))
    png(figure)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == labels


def plateaus():
    """A claim whose memoriser has plateaus 1/sqrt(N) and coarse score 1/N^2, with a term sigma^2 above."""

    def measure(key, sigma):
        return {
            f"{name} N={n}": {"error": math.hypot(n**slope, sigma**2)}
            for name, slope in (("memoriser", -0.5), ("coarse p=3", -2.0))
            for n in (256, 1024)
        }

    methods = tuple(f"{name} N={n}" for name in ("memoriser", "coarse p=3") for n in (256, 1024))
    grid = Grid(tuple(10.0**e for e in (-5, -4, -3, -2, -1, 0)), 2)
    experiment = Experiment("sphere", measure, methods, {"smoke": grid}, size_name="sigma")
    checks = (Check("sphere", "coarse p=3 N=1024", "error", "slope", 2, 0.1, min_size=0.01),)
    return Claim("T10", "toy", "Plateaus", "s", "none", (experiment,), checks, figure=separation_figure)


def test_separation_figure_shows_the_plateaus_and_their_slopes():
    subject = plateaus()
    study = verify([subject], "smoke")
    figure = separation_figure(subject, study.results, study.cells)
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert [label.split(" [")[0] for label in labels] == ["memoriser: slope −0.5", "coarse p=3: slope −2"]
    assert "slope 2" in [text.get_text() for text in figure.axes[0].texts]
    dotted = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(
        sorted(line.get_ydata()[0] for line in dotted), [1024**-2, 256**-2, 1 / 32, 1 / 16], rtol=1e-3
    )


def test_separation_figure_needs_noise_levels():
    with pytest.raises(ValueError, match="size_name is 'sigma'"):
        separation_figure(claim(), [], [])


@pytest.mark.parametrize("dim", [2, 3])
def test_samples_figure_has_a_panel_for_each_kind(dim):
    rng = np.random.default_rng(0)
    kinds = {name: rng.normal(size=(30, dim)) for name in ("data", "memorised", "coarse")}
    figure = samples_figure(kinds, "Samples")
    assert [axes.get_title().split()[0] for axes in figure.axes] == list(kinds)
    assert [len(axes.collections) for axes in figure.axes] == [1, 2, 2]
    assert len(png(figure)) > 1000


def test_samples_figure_says_what_it_can_draw():
    with pytest.raises(ValueError, match=r"got dimensions \[4\]"):
        samples_figure({"data": np.zeros((3, 4))})


def test_samples_of_a_claim_are_drawn_with_a_key_of_its_own(tmp_path):
    def samples(key):
        return {"data": np.asarray(jax.random.normal(key, (20, 3))), "coarse": np.zeros((5, 3))}

    verify([claim(samples=samples)], "smoke", out=tmp_path)
    assert (tmp_path / "figures" / "T1-samples.png").exists()
    assert "figures/T1-samples.png" in (tmp_path / "report.md").read_text()


class Links(html.parser.HTMLParser):
    """Collects what a page refers to, and whether its tags close."""

    def __init__(self):
        super().__init__()
        self.targets, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.targets += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_refers_to_nothing_outside_and_escapes_what_it_shows(tmp_path):
    subject = dataclasses.replace(claim(), title="a < b & <script>", statement="|x| <b>")
    verify([subject], "smoke", out=tmp_path)
    text = (tmp_path / "report.html").read_text()
    links = Links()
    links.feed(text)
    assert links.open == []
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in links.targets)
    assert "<script>" not in text
    assert "a &lt; b &amp; &lt;script&gt;" in text


def test_reports_tell_every_number_and_every_reason(tmp_path):
    checks = (*claim().checks, Check("curve", "memoriser", "ratio", "mean", 1, 0.1, note="Seen before."))
    study = verify([claim(checks=checks)], "smoke", out=tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "2 confirmed, 2 refuted" in text
    for result in study.results:
        assert f"{result.statistic.value:.4g}".replace("-", "−") in text
        assert (result.verdict.reason in text) == (result.verdict.verdict != "confirmed")
    assert ", ".join(f"{slope:.4g}" for slope in study.results[0].statistic.local_slopes).replace("-", "−") in text
    assert "Seen before." in text
    assert f"jax {jax.__version__}" in text


def summed_up(results, cells):
    """A table of the first slope, and of how many cells there are."""
    row = ("a | <b>", results[0].statistic, None, f"{len(results)} results, {len(cells)} cells")
    return Table("Summed up", ("what", "slope", "nothing", "how many"), (row,))


def test_a_table_that_claims_share_is_in_the_report_once_over_all_of_them(tmp_path):
    claims = [claim("T1", table=summed_up), claim("T2", table=summed_up), claim("T3")]
    study = verify(claims, "smoke", out=tmp_path, plot=False)
    text, page = ((tmp_path / f"report.{ending}").read_text() for ending in ("md", "html"))
    statistic = study.results[0].statistic
    slope = " ".join(
        f"{x:.4g}".replace("-", "−") for x in (statistic.value, statistic.ci_low, statistic.ci_high)
    ).split()
    assert text.count("## Summed up") == 1
    assert f"| a \\| <b> | {slope[0]} [{slope[1]}, {slope[2]}] | – | 6 results, 80 cells |" in text
    assert page.count("<h2>Summed up</h2>") == 1
    assert "<td>a | &lt;b&gt;</td>" in page
    assert "<td>6 results, 80 cells</td>" in page


def test_a_table_without_rows_is_left_out():
    study = verify([claim(table=lambda results, cells: Table("Empty", ("what",), ()))], "smoke")
    assert study.tables == []


def test_a_full_disk_while_a_report_is_written_is_one_line(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith("report.html"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StudyError, match=r"report\.html: No space left on device"):
        verify([claim(measure=power)], "smoke", out=tmp_path, plot=False)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
