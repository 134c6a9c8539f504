"""What every command takes: --db and --actor, before or behind its name, and the form of its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .. import settings

if TYPE_CHECKING:
    from ..desk import Registry


@dataclass(frozen=True, slots=True)
class Session:
    """The registry and the output form that one call asks for. The desk is imported when it is needed: hooks need none."""

    db: str | None
    actor: str | None
    form: str

    def reading(self) -> Registry:
        """The registry, opened so that nothing can change it."""
        from ..desk import Registry

        return Registry(settings.find_registry(self.db), readonly=True, actor=self.actor)

    def writing(self) -> Registry:
        """The registry, which must exist."""
        from ..desk import Registry

        return Registry(settings.find_registry(self.db), actor=self.actor)

    def making(self) -> Registry:
        """The registry; ./ifp.db is made when none was named and none is found."""
        from ..desk import init

        return init(actor=self.actor) if settings.named_registry(self.db) is None else self.writing()


def command(name: str, *, output: str = "json") -> Callable[[Callable[..., Any]], click.Command]:
    """A command whose function gets a Session first. `output` is 'table' (--json, --csv), 'json' (--json) or 'none'."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        def call(
            ctx: click.Context,
            /,
            *,
            db: str | None,
            actor: str | None,
            as_json: bool = False,
            as_csv: bool = False,
            **arguments: Any,
        ) -> Any:
            outer = ctx.find_root().obj or {}
            if as_json and as_csv:
                raise click.UsageError("--json and --csv exclude each other")
            form = "json" if as_json else "csv" if as_csv else "text"
            return function(Session(db or outer.get("db"), actor or outer.get("actor"), form), **arguments)

        call.__doc__ = function.__doc__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # click's own
        for option in reversed(_shared_options(output)):
            call = option(call)
        return click.command(name, context_settings={"show_default": True})(call)

    return decorate


def _shared_options(output: str) -> list[Callable[[Any], Any]]:
    shared = [
        click.option("--db", metavar="PATH", help="Use this registry (default: IFP_DB, else the nearest ifp.db)."),
        click.option("--actor", metavar="NAME", help="Act as NAME (default: IFP_ACTOR, else git's user)."),
    ]
    if output in ("table", "json"):
        shared.append(click.option("--json", "as_json", is_flag=True, help="Print one JSON document."))
    if output == "table":
        shared.append(click.option("--csv", "as_csv", is_flag=True, help="Print CSV."))
    return shared
