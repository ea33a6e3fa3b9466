"""`python -m benchmarks` lists the benchmarks; `python -m benchmarks NAME ...` runs them."""

import ast
import importlib
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent


def available() -> dict[str, str]:
    """The name of each benchmark and the first line of its docstring, read without importing it."""
    files = sorted(p for p in FOLDER.glob("*.py") if not p.name.startswith("_"))
    return {p.stem: (ast.get_docstring(ast.parse(p.read_text())) or "").partition("\n")[0] for p in files}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or list all; 2 when a name is unknown."""
    known = available()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"benchmarks: error: no benchmark {unknown[0]!r}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    if not names:
        for name, question in known.items():
            print(f"{name:16} {question}")
    for name in names:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
