"""What telling others costs: a promotion whose web hook is dead, an event until a follower sees it, a signature."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from material import MODEL, write_artifact, write_data
from report import Result

import ifpdb as ifp

HOOK, SEEN, CORE, SIGNED = 1.1, 250.0, 1.0, 15.0
"""Times a promotion that tells nobody; milliseconds; percent of one core; milliseconds."""


def telling(folder: Path, *, turns: int, seconds: float) -> Iterator[Result]:
    """Notifications, following, signing."""
    os.environ |= {"XDG_CONFIG_HOME": str(folder / "config")}
    yield _promoting(folder / "hook", turns)
    yield from _following(folder / "follow", turns, seconds)
    if shutil.which("ssh-keygen"):
        yield _signing(folder / "sign", turns)


def _two_versions(place: Path) -> ifp.Registry:
    place.mkdir()
    registry = ifp.init(place / "ifp.db")
    data, schema = write_data(place)
    for number in (1, 2):
        registry.register(MODEL, write_artifact(place, number), data=data, schema=schema, params={}, metrics={"f1": 0.9})
    return registry


def _promoting(place: Path, turns: int) -> Result:
    """Promotions there and back, in turns with and without a web hook that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as dead:
        config = place.parent / "config" / "ifp" / "ifp.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[hook.dead]\nurl = "http://127.0.0.1:{dead.getsockname()[1]}/"\nsecret = "s"\n')
        config.chmod(0o600)
        taken: dict[str, list[float]] = {"none": [], "dead": []}
        registries = {name: _two_versions(place.parent / f"hook-{name}") for name in taken}
        for name, registry in registries.items():
            told = {"notify_on_promote": "hook:dead", "notify_on_rollback": "hook:dead"} if name == "dead" else {}
            registry.model(MODEL).set_policy({"validation": {"min_f1": 0.5} | told})
        for turn in range(turns):
            for name, laps in taken.items():
                model = registries[name].model(MODEL)
                begin = time.perf_counter()
                model.promote(("v1", "v2")[turn % 2], "production", reason="there and back")
                laps.append(time.perf_counter() - begin)
        for registry in registries.values():
            registry.close()
    none, hooked = (median(laps[2:]) * 1e3 for laps in taken.values())
    figures = f"{hooked:.2f} ms, {none:.2f} ms without"
    return Result("promote with a web hook that never answers", "x", hooked / none, HOOK, figures)


FOLLOWER = """
import sys, time
import ifpdb as ifp
with ifp.open(sys.argv[1], readonly=True) as registry:
    told = registry.follow()
    print("ready", flush=True)
    for event in told:
        print(time.time(), time.process_time(), flush=True)
"""


def _following(place: Path, turns: int, seconds: float) -> Iterator[Result]:
    """From the return of the call that wrote an event until another process has been told of it; then a while of nothing."""
    with _two_versions(place) as registry:
        command = [sys.executable, "-c", FOLLOWER, str(registry.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            follower.stdout.readline()
            late, used = [], 0.0
            for turn in range(turns):
                registry.model(MODEL).tag("v1", f"t{turn}")
                written = time.time()
                seen, used = map(float, follower.stdout.readline().split())
                late.append((seen - written) * 1e3)
                time.sleep(0.013 * (turn % 9))  # not in step with its looks
            time.sleep(seconds)
            registry.model(MODEL).tag("v1", "last")
            _, used_then = map(float, follower.stdout.readline().split())
            follower.terminate()
    core = (used_then - used) / seconds * 100
    figures = f"median {median(late):.0f} ms of {turns} events"
    yield Result("an event until a follower sees it, the longest", "ms", max(late), SEEN, figures)
    yield Result("a follower of a log that is quiet", "% of a core", core, CORE, f"{seconds:.0f} s")


def _signing(place: Path, turns: int) -> Result:
    """Approvals, in turns unsigned and signed."""
    with _two_versions(place) as registry:
        key = place / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        model, taken = registry.model(MODEL), {"": list[float](), str(key): list[float]()}
        for _ in range(turns):
            for name, laps in taken.items():
                os.environ["IFP_SIGNING_KEY"] = name
                begin = time.perf_counter()
                model.approve("v1")
                laps.append(time.perf_counter() - begin)
        del os.environ["IFP_SIGNING_KEY"]
    plain, signed = (median(laps[2:]) * 1e3 for laps in taken.values())
    return Result("a signature (ed25519)", "ms", signed - plain, SIGNED, f"approve {signed:.1f} ms, {plain:.1f} ms unsigned")
