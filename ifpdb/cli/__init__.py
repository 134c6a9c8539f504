"""The command line `ifp`: its commands by task, each loaded only when it is called.

A command parses, calls one method of the library and emits. Data goes to stdout, talk to stderr; an IfpError becomes
one line and its exit code.
"""

from __future__ import annotations

import os
import sys

import click

from .. import __version__
from ..errors import IfpError
from .commands import Commands
from .output import printable

SECTIONS = {
    "Begin": {
        "init": "registering",
        "register": "registering",
    },
    "Look": {
        "ls": "looking",
        "runs": "looking",
        "show": "looking",
        "schema": "looking",
        "validate": "validating",
    },
    "Trace": {
        "log": "lineage",
        "ancestors": "lineage",
        "descendants": "lineage",
        "merge-base": "lineage",
        "link": "lineage",
        "diff": "comparing",
        "explain": "comparing",
        "bisect": "bisecting",
        "blame": "blaming",
    },
    "Move": {
        "promote": "moving",
        "rollback": "moving",
        "approve": "moving",
        "gate": "moving",
        "policy": "moving",
    },
    "Describe": {
        "metric": "describing",
        "tag": "describing",
        "label": "describing",
    },
    "Audit": {
        "history": "auditing",
        "at": "auditing",
        "exposure": "auditing",
        "events": "auditing",
        "sql": "auditing",
    },
    "Share": {
        "merge": "merging",
        "git": "git",
    },
    "Look after": {
        "fsck": "checking",
        "verify": "checking",
        "gc": "keeping",
        "backup": "keeping",
        "doctor": "keeping",
    },
    "Bytes": {
        "checkout": "fetching",
        "trust": "fetching",
        "data": "fetching",
    },
    "Deploy": {
        "resolve": "deploying",
        "deployed": "deploying",
        "outbox": "notifying",
    },
}
"""Commands by task, with the module of this package that has them."""


@click.group(
    cls=Commands,
    package=__name__,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="ifp", message="%(prog)s %(version)s", help="Print the version and exit.")
@click.option("--db", metavar="PATH", help="Use this registry (default: IFP_DB, else the nearest ifp.db).")
@click.option("--actor", metavar="NAME", help="Act as NAME (default: IFP_ACTOR, else git's user).")
@click.pass_context
def cli(ctx: click.Context, db: str | None, actor: str | None) -> None:
    """A model registry in one SQLite file: what ran in production, how it was trained, and who approved it."""
    ctx.obj = {"db": db, "actor": actor}
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


def run() -> int:
    """The exit code of the command in sys.argv; every error that is meant becomes one line on stderr."""
    try:
        code = cli.main(prog_name="ifp", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except IfpError as error:
        if os.environ.get("IFP_TRACEBACK") == "1":
            from traceback import print_exc

            print_exc()
        click.secho(f"ifp: {printable(str(error))}", err=True, fg="red")
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.message = printable(error.message)  # type: ignore[misc]  # it is what click shows
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("ifp: stopped; the registry is as it was", err=True)
        return 130
    except (BrokenPipeError, SystemExit):  # the reader, such as `head`, has enough; click turns that into SystemExit(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # ours, or of a file that no ifpdb wrote; never exit 1, which says that a check answered no
        if os.environ.get("IFP_TRACEBACK") == "1":
            raise
        said = printable(f"{type(error).__name__}: {error}")
        click.secho(f"ifp: {said}: damage (ifp fsck) or a bug; IFP_TRACEBACK=1 shows where", err=True, fg="red")
        return 70
