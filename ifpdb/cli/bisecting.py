"""bisect: which version broke it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from ..desk import Registry
from ..drawing.words import minute, person, short
from ..history.bisect import Bisect, Bisection, read, search
from ..history.verdicts import Judge, by_command, by_metric
from ..records import Run, Version
from ..store.unfinished import Unfinished
from .comparing import tell_step
from .options import Session, command
from .output import emit_json, printable, stage


@dataclass(frozen=True, slots=True)
class _Question:
    """How a version is judged: by a command or by a metric with one limit."""

    command: Sequence[str]
    metric: str | None
    below: float | None
    above: float | None
    dataset: str | None

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.metric):
            raise click.UsageError("Say how to judge: by a COMMAND behind --, or by --metric f1 --below 0.9.")
        if self.metric is None and (self.below, self.above, self.dataset) != (None, None, None):
            raise click.UsageError("--below, --above and --dataset are about a --metric.")

    def judge(self, registry: Registry, bisect: Bisect) -> Judge:
        if self.metric is None:
            return by_command(registry, self.command, read(registry, bisect.good[0]))
        judge = by_metric(self.metric, below=self.below, above=self.above, dataset=self.dataset)
        for end, wrong in [(bisect.bad, "good"), *((run, "bad") for run in bisect.good)]:
            run, version = read(registry, end)
            if judge(run, version) == wrong:
                raise click.UsageError(
                    f"{run.id} was named as {'bad' if wrong == 'good' else 'good'}, but its {self.metric} is {wrong}."
                )
        return judge


@command("bisect")
@click.option("--good", multiple=True, required=True, metavar="REF", help="Name an ancestor that was still good.")
@click.option("--bad", required=True, metavar="REF", help="Name the version that is bad.")
@click.option("--metric", metavar="M", help="Judge by this metric as it is on record, without a command.")
@click.option("--below", type=float, metavar="X", help="Say that the metric is bad below X.")
@click.option("--above", type=float, metavar="X", help="Say that the metric is bad above X.")
@click.option("--dataset", metavar="D", help="Judge by the metric on this dataset, by name or digest.")
@click.option("--restart", is_flag=True, help="Forget the verdicts of an earlier bisect that was interrupted.")
@click.argument("command_", nargs=-1, metavar="COMMAND...")
@click.pass_context
def bisect(
    ctx: click.Context,
    session: Session,
    good: Sequence[str],
    bad: str,
    metric: str | None,
    below: float | None,
    above: float | None,
    dataset: str | None,
    restart: bool,
    command_: Sequence[str],
) -> None:
    """Show which version between --good and --bad was the first bad one, in as few tests as can be.

    COMMAND gets IFP_REF, IFP_RUN and IFP_ARTIFACT, the artifact's path. It exits with 0 for good, 125 to skip, 1-127 for bad.
    Its verdicts are kept when it is interrupted: the same call again goes on from there.
    """
    question = _Question(command_, metric, below, above, dataset)
    with session.reading() as registry:
        hunt = Bisect(registry, good=good, bad=bad)
        judge = question.judge(registry, hunt)
        found = _by_command(hunt, judge, command_, restart=restart) if command_ else search(hunt, judge)
        if session.form == "json":
            emit_json(found.as_dict())
        else:
            _report(registry, found)
    if found.first_bad is None:
        ctx.exit(1)


def _by_command(hunt: Bisect, judge: Judge, command: Sequence[str], *, restart: bool) -> Bisection:
    """Search with verdicts kept for the case that it is interrupted."""
    ends = sorted(read(hunt.registry, run)[0].id for run in hunt.good)
    unfinished = Unfinished([read(hunt.registry, hunt.bad)[0].id, *ends, "--", *command])
    if restart:
        unfinished.forget()
    known = unfinished.read()
    if known:
        click.echo(f"resuming with {len(known)} {'verdict' if len(known) == 1 else 'verdicts'} of before (--restart)", err=True)
    found = search(hunt, judge, known=known, told=_progress(hunt), kept=unfinished.write)
    unfinished.forget()
    return found


def _progress(hunt: Bisect) -> Callable[[Run, Version | None], None]:
    def told(run: Run, version: Version | None) -> None:
        click.echo(f"{hunt.left()}: testing {_named(run, version)}", err=True)

    return told


def _named(run: Run, version: Version | None) -> str:
    return f"{run.model} v{version.ordinal} {run.id}" if version else f"{run.model} {run.id}"


def _report(registry: Registry, found: Bisection) -> None:
    for run, verdict in found.tested:
        click.echo(f"{click.style(verdict.ljust(5), fg={'good': 'green', 'bad': 'red', 'skip': 'yellow'}[verdict])} {run}")
    if found.first_bad is None:
        click.echo(f"one of these is the first bad one, the others could not be tested: {', '.join(found.suspects)}")
        return
    record = registry.find(found.first_bad)
    before = f"{found.last_good} before it was good" if found.last_good else "it came from nothing"
    click.echo(f"\n{found.first_bad} is the first bad one, {before}\n")
    if isinstance(record, Version):
        click.echo(f"{record.model} v{record.ordinal} {short(record.digest)}, {stage(record.stage)}, ", nl=False)
        click.echo(f"registered {minute(record.created_at)} by {printable(person(record.actor))}")
        approved = ", ".join(printable(person(name)) for name in found.approved_by)
        click.echo(f"approved by {approved}" if approved else "approved by nobody on record")
    if found.step:
        tell_step(found.step)
    click.echo(f"\nifp show {found.first_bad} has all of it", err=True)


COMMANDS: dict[str, click.Command] = {"bisect": bisect}
