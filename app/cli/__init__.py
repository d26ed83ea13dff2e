"""The `turnback` command: verbs for people and CI.

Rule: it speaks to a gateway only through the admin REST API; importing this package is cheap,
and a verb imports what it alone needs.
"""

import sys

from app import __version__
from app.cli.verbs import VERBS, ExitCode, is_checkout, overview, unknown


def answered_without_packages(arguments: list[str]) -> int | None:
    """Answer what needs nothing but the standard library; None when a verb has to run."""
    if not arguments:
        sys.stderr.write(overview())
        return ExitCode.USAGE
    if arguments[0] in {"--help", "-h", "help"}:
        sys.stdout.write(overview())
        return ExitCode.DONE
    if arguments[0] in {"--version", "version"}:
        sys.stdout.write(f"turnback {__version__}\n")
        return ExitCode.DONE
    if arguments[0] not in VERBS:
        sys.stderr.write(unknown(arguments[0]) + "\n")
        return ExitCode.USAGE
    if VERBS[arguments[0]].needs_checkout and not is_checkout():
        sys.stderr.write(f"turnback: `{arguments[0]}` needs a checkout of the sources, and this is an installation.\n")
        return ExitCode.FAILED
    return None


def main() -> None:
    """Run the command in sys.argv; always ends with SystemExit."""
    arguments = sys.argv[1:]
    code = answered_without_packages(arguments)
    if code is None:
        from app.cli import program  # noqa: PLC0415 -- what was answered above must need no package

        code = program.run(arguments)
    raise SystemExit(int(code))
