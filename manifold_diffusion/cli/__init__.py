"""The command line: a thin layer over estimators, evaluations and studies.

Standard output carries results and nothing else, standard error everything else. The exit status is 0 when all is
done and confirmed, 1 when a claim was not confirmed, 2 for bad usage or bad input (one line, no traceback), 130 when
interrupted.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from manifold_diffusion.cli.console import Console, InputError
from manifold_diffusion.cli.parser import UsageError, build_parser

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = build_parser().parse_args(arguments)
    except UsageError as error:
        return _fail(str(error))
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    options.arguments = arguments
    console = Console(quiet=options.quiet, as_json=options.json)
    try:
        command = importlib.import_module(f"manifold_diffusion.cli.{options.command}")
        status = command.run(options, console)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        console.clear()
        print(f"manifold-diffusion: {stop or 'interrupted; nothing was written'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has had enough
        _drop_output()
        return 0
    except Exception as error:
        console.clear()
        return _fail(_explained(error))


def _explained(error: Exception) -> str:
    """What to say about an error of the input or the machine; anything else is a fault of ours and is raised again."""
    if isinstance(error, InputError) or type(error).__name__ in ("StudyError", "CheckpointError", "TrainingError"):
        return str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "not enough memory for this many points; use fewer, or a machine with more"
    if isinstance(error, OSError):
        _drop_output()
        return f"cannot write the output: {error.strerror or error}; make room, or send it elsewhere"
    raise error


def _fail(message: str) -> int:
    print(f"manifold-diffusion: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    # Otherwise the interpreter tries to flush what it could not write, and complains, at exit.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
