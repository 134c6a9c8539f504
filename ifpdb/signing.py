"""Signatures as git makes them: by ssh-keygen with the user's SSH key, verified against an allowed-signers file.

What is signed is the canonical JSON of an event without its `detail.signature`, under the namespace ifpdb@v1 (the format is
OpenSSH's PROTOCOL.sshsig). Who signs is the actor's mail address, or the actor where there is none; ssh-keygen(1) says how an
allowed-signers file names people and keys. OpenSSH 8.9 or later.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import digest, ifptoml, times
from .errors import Refused, UsageError
from .ifptoml import Unconfigured
from .names import principal

if TYPE_CHECKING:
    from subprocess import CompletedProcess

NAMESPACE = "ifpdb@v1"
PATIENCE = 20
"""Seconds for one call of ssh-keygen: a key in hardware waits for a touch, and other writers meanwhile."""
_ARMOR = "-----BEGIN SSH SIGNATURE-----"
_LONGEST = 20_000
"""Characters of a signature that are looked at; one by an RSA key of 16,384 bits has 6,000."""
_KEY = re.compile(r" key (SHA256:[A-Za-z0-9+/]+)\s*\Z")


# -- signing


def key() -> Path | None:
    """The key that decisions are signed with: IFP_SIGNING_KEY (empty: none), else `key` in [signing] of ifp.toml."""
    return _place("IFP_SIGNING_KEY", "key")


def sign(statement: bytes) -> str | None:
    """The signature under the canonical JSON of an event, in armor; None where no key is configured.

    Nothing is asked on the terminal: a key with a passphrase is used through ssh-agent. Raises Refused when it can't be used.
    """
    place = key()
    if place is None:
        return None
    done = _ssh_keygen("sign", "-f", str(place), told=statement)
    signature = done.stdout.decode(errors="replace")
    if done.returncode or not signature.startswith(_ARMOR):
        why = _last_line(done.stderr) or "ssh-keygen gave no signature"
        mend = (
            f"put it into ssh-agent (ssh-add {place})"
            if "passphrase" in why
            else "see IFP_SIGNING_KEY and [signing] in ifp.toml"
        )
        raise Refused(
            f"nothing was written, since it can't be signed with {place}: {why}; {mend}. IFP_SIGNING_KEY= signs nothing"
        )
    return signature


# -- verifying


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose keys count: an allowed-signers file, and a file of keys that were revoked."""

    allowed: Path
    revoked: Path | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether an event is proven to come from its actor; by which key ('SHA256:…', or ''), and why not."""

    proven: bool
    key: str = ""
    why: str = ""


UNSIGNED = Proof(False, why="not signed")


def signers(allowed: Path | None = None, revoked: Path | None = None) -> Signers:
    """Whose keys count: the arguments, else IFP_ALLOWED_SIGNERS, else [signing] of ifp.toml.

    Raises Unconfigured where nothing names an allowed-signers file, or where one of the files can't be read.
    """
    found = allowed or _place("IFP_ALLOWED_SIGNERS", "allowed_signers")
    if found is None:
        raise Unconfigured(
            f"nothing says whose keys count: name an allowed-signers file in IFP_ALLOWED_SIGNERS, or as allowed_signers in "
            f"[signing] of {ifptoml.path()}"
        )
    gone = revoked or _place(None, "revoked")
    for place in filter(None, (found, gone)):
        try:
            with open(place, "rb"):
                pass
        except OSError as error:
            raise Unconfigured(f"{place} can't be read: {error.strerror}") from None
    return Signers(found, gone)


def prove(body: str, signers: Signers) -> Proof:
    """What the signature in an event's bytes is worth. Raises Refused where ssh-keygen can't be run.

    A key counts if it was allowed when the event was written by the clock, and is not revoked today.
    """
    try:
        statement, signature, who, when = _signed(body)
    except (UsageError, ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        return Proof(False, why="it isn't signed as ifpdb signs")
    if signature is None:
        return UNSIGNED
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile("w", encoding="utf-8", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        allowed = ("-f", str(signers.allowed), "-I", who, "-s", file.name, f"-Overify-time={when}")
        gone = () if signers.revoked is None else ("-r", str(signers.revoked))
        done = _ssh_keygen("verify", *allowed, *gone, told=statement)
        if done.returncode == 0:
            return Proof(True, _key_in(done.stdout))
        by_itself = _ssh_keygen("check-novalidate", "-s", file.name, told=statement)
        if by_itself.returncode:
            return Proof(False, why="its signature doesn't fit what it says")
        made_by = _key_in(by_itself.stdout)
        if gone and _ssh_keygen("verify", *allowed, told=statement).returncode == 0:
            return Proof(False, made_by, f"its key {made_by} was revoked")
        late = re.search(rb"key (has expired|is not yet valid)", done.stderr)
        why = f"{late[0].decode()} at the time" if late else f"{signers.allowed.name} doesn't allow it to {who}"
        return Proof(False, made_by, f"it is signed by the key {made_by}: {why}")


def _signed(body: str) -> tuple[bytes, str | None, str, str]:
    """What was signed, the signature, who claims to have signed, and when, as ssh-keygen takes it."""
    told = json.loads(body)
    if digest.canonical(told) != body.encode():
        raise ValueError("other programs may read it otherwise")
    detail: dict[str, Any] = told.get("detail", {})
    signature = detail.pop("signature", None)
    if signature is not None and (not isinstance(signature, str) or len(signature) > _LONGEST):
        raise ValueError("a signature is text")
    who = principal(told["actor"])
    if not isinstance(told["actor"], str) or "\0" in who:
        raise ValueError("no such person")
    who.encode()
    at = times.read_time(detail.get("clock") or told["at"])
    return digest.canonical(told), signature, who, at.astimezone().strftime("%Y%m%d%H%M%S")


def _key_in(said: bytes) -> str:
    found = _KEY.search(said.decode(errors="replace"))
    return found[1] if found else ""


# -- ssh-keygen


def _ssh_keygen(verb: str, *arguments: str, told: bytes) -> CompletedProcess[bytes]:
    """`ssh-keygen -Y VERB` in a session of its own, so that it can't ask on our terminal."""
    import subprocess

    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    command = ["ssh-keygen", "-Y", verb, "-n", NAMESPACE, *arguments]
    try:
        return subprocess.run(
            command, input=told, capture_output=True, timeout=PATIENCE, start_new_session=True, env=environment, check=False
        )
    except FileNotFoundError:
        raise Refused("signatures need ssh-keygen, which is not on the PATH: install OpenSSH 8.9 or later") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"ssh-keygen gave no answer in {PATIENCE} seconds: is a key in hardware waiting to be touched?") from None


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode(errors="replace").replace("Enter passphrase: ", "").splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""


def _place(variable: str | None, name: str) -> Path | None:
    """A path that the environment names, else [signing] of ifp.toml."""
    if variable is not None and (told := os.environ.get(variable)) is not None:
        return Path(os.path.expanduser(told)) if told else None
    section: Mapping[str, Any] = ifptoml.section("signing", secret=False)
    if unknown := section.keys() - {"key", "allowed_signers", "revoked"}:
        where = f"{ifptoml.path()}, [signing]"
        raise Unconfigured(f"{where}: {sorted(unknown)[0]} is no key of it: there are key, allowed_signers and revoked")
    if name not in section:
        return None
    value = section[name]
    path = Path(os.path.expanduser(value)) if isinstance(value, str) and "\0" not in value else Path()
    if not path.is_absolute():
        raise Unconfigured(f"{ifptoml.path()}, [signing]: {name} must be a path that begins with / or ~")
    return path
