"""The layout's promises: imports go one way, files are called after what they hold, public names say what they are."""

import ast
import functools
import graphlib
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import manifold_diffusion

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "manifold_diffusion"
FOLDERS = (
    "geometry",
    "measures",
    "processes",
    "scores",
    "samplers",
    "estimators",
    "evaluation",
    "studies",
)
SOURCES = sorted(PACKAGE.rglob("*.py"))
PUBLIC_SOURCES = [path for path in SOURCES if path.name in {"__init__.py", "__main__.py"} or path.name[0] != "_"]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_go_one_way():
    """The layers contract of pyproject.toml, by import-linter, in a process that has no import hook."""
    from importlinter.cli import lint_imports

    command = f"import sys; from {lint_imports.__module__} import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_is_called_after_what_it_holds(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "base", "config", "misc", "tools"}


@pytest.mark.parametrize("path", PUBLIC_SOURCES, ids=_name)
def test_every_public_name_has_a_docstring(path):
    """Modules, functions, classes and methods; a method that implements a documented one of an interface has its."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{_name(path)} has no docstring"
    documented = _documented_in_interfaces()
    missing = [name for name, leaf in _public_definitions(tree) if leaf not in documented]
    assert not missing, f"{_name(path)}: no docstring on {', '.join(missing)}"


def _public_definitions(tree: ast.Module):
    """(name, method name or "") of every public definition without a docstring."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
            continue
        if not ast.get_docstring(node):
            yield node.name, ""
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_") and not ast.get_docstring(item):
                    yield f"{node.name}.{item.name}", item.name


@functools.cache
def _documented_in_interfaces() -> set[str]:
    """Methods of the interfaces: those with a docstring, and the optional ones that AbstractManifold's lists."""
    names = {"volume", "reach", "uniform", "quadrature"}
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Abstract"):
                names |= {
                    item.name for item in node.body if isinstance(item, ast.FunctionDef) and ast.get_docstring(item)
                }
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_namespace_says_what_it_exports(folder):
    """`__all__` is there, sorted, names things that exist, and leaves out no public class or function it imports."""
    module = importlib.import_module(f"manifold_diffusion.{folder}")
    assert hasattr(module, "__all__"), f"manifold_diffusion.{folder} has no __all__"
    assert all(hasattr(module, name) for name in module.__all__)
    visible = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    assert visible <= set(module.__all__), f"imported but not exported: {sorted(visible - set(module.__all__))}"


@pytest.mark.parametrize("folder", ["processes"])
def test_siblings_import_the_interface_and_not_one_another(folder):
    """A file imports only such files of its folder as import none of it: the interface, or parts that are shared."""
    siblings = _folder(folder)
    wrong = {f"{name} imports {used}" for name, uses in siblings.items() for used in uses if siblings[used]}
    assert not wrong, f"{folder}: {'; '.join(sorted(wrong))}"


@pytest.mark.parametrize(
    ("folder", "interface"),
    [("geometry", "manifold"), ("measures", "measure"), ("scores", "score"), ("samplers", "step")],
)
def test_siblings_compose_without_cycles_and_the_interface_stands_alone(folder, interface):
    """Shapes are made of charts, products of parts, kernels of radial laws, posteriors of chains: in one order."""
    siblings = _folder(folder)
    assert not siblings[interface]
    list(graphlib.TopologicalSorter(siblings).static_order())


def _folder(folder: str) -> dict[str, set[str]]:
    return {path.stem: _siblings(path) for path in (PACKAGE / folder).glob("*.py") if path.name != "__init__.py"}


def _siblings(path: Path) -> set[str]:
    prefix = f"manifold_diffusion.{path.parent.name}."
    named = {target.removeprefix(prefix).split(".")[0] for target in _imports(path) if target.startswith(prefix)}
    return {name for name in named if (path.parent / f"{name}.py").exists()}


def _imports(path: Path) -> list[str]:
    return [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages(manifold_diffusion.__path__, "manifold_diffusion."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_the_import_is_light():
    """Libraries that take long to load come in only when they are used."""
    heavy = "{'matplotlib', 'sklearn', 'ott', 'diffrax', 'pandas', 'pyarrow', 'ot'}"
    command = f"import sys, manifold_diffusion, manifold_diffusion.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
