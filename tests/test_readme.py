"""What the README promises: its Python runs, its commands are those that exist, its links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def test_the_python_of_the_readme_runs(capsys):
    """As it stands there, at sizes that take seconds."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    for printed, small in (
        ("experiment(4096", "experiment(400"),
        ("key, 1000)", "key, 64)"),
        ("[512, 1024, 2048, 4096]", "[200, 400]"),
        ("range(3)", "range(2)"),
    ):
        assert printed in code
        code = code.replace(printed, small)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_two_commands_are_there_as_agreed():
    assert "\n    pip install . && manifold-diffusion verify separation --scale cpu\n" in README
    assert '\n    pip install -e ".[test]" && pytest\n' in README


def test_the_commands_of_the_readme_exist():
    from manifold_diffusion.cli.parser import build_parser

    listed = set(re.findall(r"^\| `manifold-diffusion (\w+)", README, re.MULTILINE))
    text = build_parser().format_help()
    assert listed
    assert all(command in text for command in listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing, f"{page.name} points to {missing}"


def test_every_namespace_has_a_reference_page():
    import manifold_diffusion

    for name in manifold_diffusion.__all__:
        if not name.startswith("_"):
            assert f"::: manifold_diffusion.{name}" in (ROOT / "docs" / "api" / f"{name}.md").read_text()


def test_versions_agree():
    import manifold_diffusion

    assert f"version: {manifold_diffusion.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{manifold_diffusion.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]["path"].endswith(
        "__init__.py"
    )
