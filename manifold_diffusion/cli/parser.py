"""What can be typed; nothing heavy is imported here, so --help and --version answer at once."""

import argparse
from collections.abc import Callable
from typing import NoReturn

METHODS = ("coarse", "memorising", "early-stopped", "inertial", "uniform", "neural")
MODELS = ("mlp", "chart", "implicit", "unet")
LATENTS = ("sphere", "torus", "plane")
STOPS = ("held-out", "loss", "distance", "novelty", "error", "none")
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
    for add in (_add_claims, _add_verify, _add_generate, _add_audit, _add_train):
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
    parser.add_argument("--checkpoint", metavar="CKPT", help="of --method neural, written by train")
    parser.add_argument(
        "--normal-only", action="store_true", help="new points even from a model that has memorised its data"
    )
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


def _add_train(commands, common) -> None:
    parser = _add(commands, common, "train", "train a neural score model of DATA; CKPT is valid whatever interrupts it")
    _add_data(parser)
    parser.add_argument("--out", required=True, metavar="CKPT", help="a folder for checkpoints, curves and samples")
    parser.add_argument("--resume", action="store_true", help="go on with the training in CKPT")
    parser.add_argument("--model", choices=MODELS, default="mlp", help="chart and implicit cannot memorise (mlp)")
    parser.add_argument("--steps", type=_positive, default=20_000, metavar="N", help="in all (20000)")
    parser.add_argument("--dim", type=_positive_or_auto, default="auto", metavar="auto|K", help="of the manifold")
    parser.add_argument(
        "--latent", choices=LATENTS, default="sphere", help="what a chart model's data look like (sphere)"
    )
    parser.add_argument("--image", type=_positive, nargs="+", metavar="SIDE", help="HEIGHT WIDTH [CHANNELS] of a unet")
    parser.add_argument("--width", type=_positive, default=128, metavar="N", help="units or channels a layer (128)")
    parser.add_argument("--depth", type=_positive, default=3, metavar="N", help="hidden layers or levels (3)")
    parser.add_argument("--batch", type=_positive, default=128, metavar="N", help="examples a step (128)")
    parser.add_argument("--learning-rate", type=_positive_number, default=1e-3, metavar="X", help="of Adam (0.001)")
    parser.add_argument(
        "--decay", type=_share, default=0.999, metavar="X", help="of the average of the weights (0.999)"
    )
    parser.add_argument("--held-out", metavar="FILE", help="points to watch by, not trained on")
    parser.add_argument("--hold-out", type=_share, default=0.1, metavar="X", help="or this share of DATA (0.1)")
    parser.add_argument("--stop-on", choices=STOPS, default="held-out", help="what the best look is best in (held-out)")
    parser.add_argument("--patience", type=_positive, metavar="N", help="end after so many looks without a better one")
    parser.add_argument("--looks", type=_positive, default=24, metavar="N", help="how often to look (24)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--array", metavar="NAME", help="which array of an .npz file")
    parser.add_argument("--coordinates", choices=("latlon",), help="rows are latitude and longitude in degrees")
    parser.add_argument("--drop-bad", action="store_true", help="drop rows with NaN or infinities and count them")


def _seed(text: str) -> int:
    return _whole(text, 0, 2**31 - 1)


def _share(text: str) -> float:
    return _real(text, "a number from 0 to below 1", lambda x: 0 <= x < 1)


def _positive_number(text: str) -> float:
    return _real(text, "a number above 0", lambda x: x > 0)


def _real(text: str, what: str, fits: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (fits(value) and value < float("inf")):
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value


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
