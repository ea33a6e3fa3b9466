"""What can be typed; nothing heavy is imported here, so --help and --version answer at once."""

import argparse
from typing import NoReturn

METHODS = ("coarse", "memorising", "early-stopped", "inertial", "uniform")
SCALES = ("smoke", "cpu", "gpu")
DATA = "points, one a row: .npy, .npz, .csv (numbers, optional header) or .parquet"


class UsageError(Exception):
    """What was typed is not a command; the message is one line."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line without a usage dump."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from manifold_diffusion import __version__

    common = _common()
    parser = Parser(
        prog="manifold-diffusion",
        description="Find out what a diffusion model has learned: the shape of the data, or the data themselves.",
        parents=[_common()],
        allow_abbrev=False,
    )
    parser.set_defaults(json=False, quiet=False, seed=0)
    parser.add_argument("--version", action="version", version=f"manifold-diffusion {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for add in (_add_claims, _add_verify, _add_generate, _add_audit):
        add(commands, common)
    return parser


def _common() -> argparse.ArgumentParser:
    """Options that may stand before or behind the command; behind it they have no default that would undo the first."""
    common = Parser(add_help=False)
    quiet = argparse.SUPPRESS
    common.add_argument("--json", action="store_true", default=quiet, help="one JSON document instead of a table")
    common.add_argument("--quiet", action="store_true", default=quiet, help="no progress and no remarks")
    common.add_argument("--seed", type=_seed, default=quiet, metavar="N", help="of all randomness (default 0)")
    return common


def _add(commands, common, name: str, summary: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, description=summary, parents=[common], allow_abbrev=False)


def _add_claims(commands, common) -> None:
    _add(commands, common, "claims", "list the claims that can be verified")


def _add_verify(commands, common) -> None:
    parser = _add(commands, common, "verify", "measure claims and judge them")
    parser.add_argument("claims", nargs="*", metavar="ID|GROUP", help="such as S1 or separation; all by default")
    parser.add_argument(
        "--scale", choices=SCALES, default="cpu", help="seconds, minutes, or all that fits (default cpu)"
    )
    parser.add_argument("--out", metavar="DIR", help="where cells, claims, figures and reports go")
    parser.add_argument("--resume", action="store_true", help="go on with the study in DIR")
    parser.add_argument("--plot", action=argparse.BooleanOptionalAction, default=True, help="draw figures into DIR")


def _add_generate(commands, common) -> None:
    parser = _add(commands, common, "generate", "new points from the manifold that DATA lies near, without training")
    _add_data(parser)
    parser.add_argument("--n", type=_positive, required=True, metavar="N", help="how many")
    parser.add_argument("--out", required=True, metavar="FILE", help="its ending chooses the format; must not exist")
    parser.add_argument("--dim", type=_positive_or_auto, default="auto", metavar="auto|K", help="of the manifold")
    parser.add_argument(
        "--degree", type=_positive_or_auto, default="auto", metavar="auto|P", help="of its local charts"
    )
    parser.add_argument("--method", choices=METHODS, default="coarse", help="(default coarse)")


def _add_audit(commands, common) -> None:
    parser = _add(
        commands, common, "audit", "what the manifold of DATA looks like, and whether generated points are new"
    )
    _add_data(parser)
    parser.add_argument("--generated", metavar="FILE", help="points to judge against DATA")
    parser.add_argument("--held-out", metavar="FILE", help="data that the generator has not seen, for the nulls")
    parser.add_argument("--out", metavar="DIR", help="where audit.json goes")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--array", metavar="NAME", help="which array of an .npz file")
    parser.add_argument("--coordinates", choices=("latlon",), help="rows are latitude and longitude in degrees")
    parser.add_argument("--drop-bad", action="store_true", help="drop rows with NaN or infinities and count them")


def _seed(text: str) -> int:
    return _whole(text, 0, 2**31 - 1)


def _positive(text: str) -> int:
    return _whole(text, 1, 10**9)


def _positive_or_auto(text: str) -> int | str:
    return text if text == "auto" else _whole(text, 1, 10**6)


def _whole(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
    return value
