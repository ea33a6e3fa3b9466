"""The report of a study, for people: report.md beside its figures, and report.html with everything inside.

Both say the same: a table of the checks, the reasons for what was not confirmed, the figures, the local slopes, and
what the study ran on.
"""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from manifold_diffusion.studies.claim import Cell, Claim, Result, Statistic
from manifold_diffusion.studies.summary import tables
from manifold_diffusion.studies.verdict import NAMES, expectation

Figures: TypeAlias = Mapping[str, Mapping[str, bytes]]
"""{claim id: {path of a figure: the PNG file}}"""

HEAD = ("claim", "quantity", "method", "expected", "measured [95 % interval]", "verdict", "cells failed", "seconds")

HOW_TO_READ = """Every claim fixes its sizes, replicates, instrument and tolerance before it runs. A rate is the
least-squares slope of log(mean error) against log(size); its 95 % interval comes from resampling the replicates.
Confirmed: the whole interval lies inside the expected band. Refuted: the whole interval lies outside. Inconclusive:
neither, or too many cells failed. In the figures points are means over replicates, shaded bands their intervals,
solid lines the fit, dashed lines the expected slope (set a little lower to be seen); for levels the shaded region is
what the claim allows. Orange is what memorises, blue what is coarse, darker for larger sizes or degrees. Seconds are
those of an experiment, which measures all its methods on the same data.""".replace("\n", " ")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.2em; margin-top: 2em; } h3 { font-size: 1em; }
table { border-collapse: collapse; width: 100%; font-size: 13px; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: 4px 8px; border-bottom: 1px solid #ddd; vertical-align: top; }
th { background: #f4f4f4; }
th.c { background: none; padding-top: 1em; border-bottom: 1px solid #999; }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums; }
.v { white-space: nowrap; font-weight: 600; border-radius: 3px; padding: 1px 6px; }
.confirmed { background: #d9efe6; color: #00543a; } .refuted { background: #fbe0d2; color: #8a2f00; }
.inconclusive { background: #fbf0c9; color: #5c4a00; }
img { max-width: 100%; } .s, footer { color: #555; font-size: 13px; } .g { color: #555; }
"""

MARKS = {"confirmed": "✓ confirmed", "refuted": "✗ refuted", "inconclusive": "? inconclusive"}


def markdown(results: Sequence[Result], cells: Sequence[Cell], manifest: Mapping[str, Any], figures: Figures) -> str:
    """The report as Markdown; figures are linked by their paths."""
    lines = ["# " + _title(manifest), "", _tally(results), "", HOW_TO_READ, "", _markdown_row(HEAD)]
    lines.append(_markdown_row(["---"] * len(HEAD)))
    lines += [_markdown_row(_row(result)) for result in results]
    if _open_questions(results):
        lines += ["", "## Not confirmed", ""]
        lines += [
            f"- {result.claim.id}, {_name(result)}: **{result.verdict.verdict}**. {_reason(result)}"
            for result in _open_questions(results)
        ]
    if _errors(cells):
        lines += ["", "## Cells that failed", "", *[f"- {line}" for line in _errors(cells)]]
    for table in tables(results, cells):
        lines += ["", f"## {table.title}", "", _markdown_row(table.head), _markdown_row(["---"] * len(table.head))]
        lines += [_markdown_row([_entry(each) for each in row]) for row in table.rows]
    for claim in _claims(results):
        lines += ["", f"## {claim.id}. {claim.title}", "", claim.statement, "", f"Source: {claim.source}", ""]
        lines += [f"![{claim.id}]({path})\n" for path in figures.get(claim.id, {})]
        lines += [f"- {line}" for line in _details(claim, results)]
    lines += ["", "## What it ran on", "", *[f"- {line}" for line in _footer(manifest)], ""]
    return "\n".join(lines)


def page(results: Sequence[Result], cells: Sequence[Cell], manifest: Mapping[str, Any], figures: Figures) -> str:
    """The report as one HTML file that needs nothing else."""
    title = html.escape(_title(manifest))
    parts = [f"<h1>{title}</h1>", f"<p>{_escape(_tally(results))}</p>", f'<p class="s">{_escape(HOW_TO_READ)}</p>']
    parts.append(_html_table(results))
    if _open_questions(results):
        parts.append("<h2>Not confirmed</h2>")
        parts.append(
            _html_list(
                [f"{r.claim.id}, {_name(r)}: {r.verdict.verdict}. {_reason(r)}" for r in _open_questions(results)]
            )
        )
    if _errors(cells):
        parts += ["<h2>Cells that failed</h2>", _html_list(_errors(cells))]
    for table in tables(results, cells):
        parts.append(f"<h2>{_escape(table.title)}</h2>")
        rows = "".join(f"<tr>{_html_row([_entry(each) for each in row], 'td')}</tr>\n" for row in table.rows)
        parts.append(_html_body(_html_row(table.head, "th"), rows))
    for claim in _claims(results):
        parts.append(f'<h2 id="{_escape(claim.id)}">{_escape(claim.id)}. {_escape(claim.title)}</h2>')
        parts.append(f'<p>{_escape(claim.statement)} <span class="g">[{_escape(claim.source)}]</span></p>')
        parts += [_image(claim, png) for png in figures.get(claim.id, {}).values()]
        parts.append(_html_list(_details(claim, results)))
    parts += ["<footer><h2>What it ran on</h2>", _html_list(_footer(manifest)), "</footer>"]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _title(manifest: Mapping[str, Any]) -> str:
    return f"Study at scale {manifest['scale']}, seed {manifest['seed']}"


def _tally(results: Sequence[Result]) -> str:
    verdicts = [result.verdict.verdict for result in results]
    counts = [f"{verdicts.count(name)} {name}" for name in MARKS if name in verdicts]
    return f"{len(results)} checks of {len(_claims(results))} claims: {', '.join(counts)}."


def _row(result: Result) -> list[str]:
    check = result.check
    return [
        result.claim.id,
        f"{NAMES[check.relation]} of {check.quantity}, {check.experiment}",
        check.method,
        expectation(check, result.scale),
        "none" if result.statistic is None else _entry(result.statistic),
        MARKS[result.verdict.verdict],
        f"{result.failures} of {len(result.sizes) * result.replicates}",
        f"{result.seconds:.1f}",
    ]


def _details(claim: Claim, results: Sequence[Result]) -> list[str]:
    lines = []
    for result in (each for each in results if each.claim is claim):
        check, statistic = result.check, result.statistic
        sizes = ", ".join(f"{size:g}" for size in result.sizes)
        size_name = claim.experiment(check.experiment).size_name
        line = f"{_name(result)}: {size_name} = {sizes}; replicates: {result.replicates}."
        if statistic is not None and len(statistic.local_slopes) > 1:
            line += f" Local slopes {', '.join(_number(slope) for slope in statistic.local_slopes)}."
        lines.append(line + (f" {check.note}" if check.note else ""))
    return lines


def _name(result: Result) -> str:
    check = result.check
    return f"{check.experiment}, {check.method}, {NAMES[check.relation]} of {check.quantity}"


def _reason(result: Result) -> str:
    note = f" {result.check.note}" if result.check.note else ""
    return result.verdict.reason + note


def _open_questions(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.verdict.verdict != "confirmed"]


def _errors(cells: Sequence[Cell]) -> list[str]:
    """Each error once, with how many cells it hit and the first of them."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.error:
            found.setdefault((cell.claim, cell.experiment, cell.error), []).append(cell)
    return [
        f"{claim}, {experiment}: {error} ({len(hit)} cells, the first {hit[0].method} at {hit[0].size:g}, "
        f"replicate {hit[0].replicate})"
        for (claim, experiment, error), hit in found.items()
    ]


def _claims(results: Sequence[Result]) -> list[Claim]:
    claims = {}
    for result in results:
        claims.setdefault(result.claim.id, result.claim)
    return list(claims.values())


def _footer(manifest: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {manifest[name]}" for name in ("python", "jax", "jaxlib", "numpy", "scipy"))
    lines = [
        f"manifold_diffusion {manifest['version']}, commit {manifest['commit'] or 'unknown'}",
        f"{manifest['device']}, {' and '.join(manifest['dtype'])}, {manifest['platform']}",
        versions,
        f"started {manifest['started']}, finished {manifest['finished']}",
    ]
    lines += [f"not drawn: {each}" for each in manifest.get("not_drawn", [])]
    lines += [f"resumed {each['started']} at commit {each['commit'] or 'unknown'}" for each in manifest["resumed"]]
    return lines


def _markdown_row(columns: Sequence[str]) -> str:
    return "| " + " | ".join(column.replace("|", "\\|") for column in columns) + " |"


def _html_table(results: Sequence[Result]) -> str:
    """A heading row for each claim, with its title, then its checks."""
    head = "".join(f"<th>{_escape(name)}</th>" for name in HEAD[1:])
    body = ""
    for claim in _claims(results):
        name = f'<a href="#{_escape(claim.id)}">{_escape(claim.id)}</a> {_escape(claim.title)}'
        body += f'<tr><th class="c" colspan="{len(HEAD) - 1}">{name}</th></tr>\n'
        body += "".join(f"<tr>{_html_cells(result)}</tr>\n" for result in results if result.claim is claim)
    return _html_body(head, body)


def _html_body(head: str, body: str) -> str:
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _html_row(cells: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells)


def _html_cells(result: Result) -> str:
    row = dict(zip(HEAD, map(_escape, _row(result)), strict=True))
    row["verdict"] = f'<span class="v {result.verdict.verdict}">{row["verdict"]}</span>'
    wrapped = ("quantity", "method")
    return "".join(
        f"<td>{row[name]}</td>" if name in wrapped else f'<td class="n">{row[name]}</td>' for name in HEAD[1:]
    )


def _html_list(lines: Sequence[str]) -> str:
    return f'<ul class="s">{"".join(f"<li>{_escape(line)}</li>" for line in lines)}</ul>'


def _image(claim: Claim, png: bytes) -> str:
    source = base64.b64encode(png).decode()
    return f'<p><img alt="{_escape(claim.id)}: {_escape(claim.title)}" src="data:image/png;base64,{source}"></p>'


def _escape(text: str) -> str:
    return html.escape(text)


def _entry(cell: str | Statistic | None) -> str:
    if isinstance(cell, Statistic):
        return f"{_number(cell.value)} [{_number(cell.ci_low)}, {_number(cell.ci_high)}]"
    return cell or "–"


def _number(x: float) -> str:
    return ("∞" if x > 0 else "−∞") if math.isinf(x) else f"{x:.4g}".replace("-", "−")
