"""ifp.toml: the user's own file, with what no registry may carry: where notifications go, their secrets, the signing key.

It lies in the user's configuration folder. Whoever else could read it would have the secrets, and whoever else could write it
would say whose keys count, so that a file open to others is refused. No message about it repeats a value.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from .errors import UsageError

SECTIONS = {
    "slack": "[slack]",
    "hook": "[hook.NAME]",
    "exec": "[exec.NAME]",
    "signing": "[signing]",
}
"""What a file may have: `hook` and `exec` have a section for each name."""


class Unconfigured(UsageError):
    """What ifp.toml doesn't tell, or a file that can't be used."""


@cache
def _folder(_home: str | None, _config: str | None) -> Path:
    import platformdirs

    return platformdirs.user_config_path("ifp", appauthor=False)


def path() -> Path:
    """Where ifp.toml lies: in the user's configuration folder of this platform."""
    return _folder(os.environ.get("HOME"), os.environ.get("XDG_CONFIG_HOME")) / "ifp.toml"


def section(name: str, *, secret: bool = True) -> dict[str, Any]:
    """A section of the file, empty where there is none. Raises Unconfigured for a file that can't be used.

    Where a `secret` may be in it nobody else may read the file; nobody else may write it in any case.
    """
    place = path()
    try:
        with open(place, "rb") as file:
            status = os.fstat(file.fileno())
            others = status.st_mode & (0o077 if secret else 0o022)
            if os.name == "posix" and (others or status.st_uid not in (os.getuid(), 0)):
                mode = stat.S_IMODE(status.st_mode)
                raise Unconfigured(f"{place} holds secrets and isn't yours alone (mode {mode:o}): chmod 600 {place}")
            document = _parse(place, file.read())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unconfigured(f"{place} can't be read: {error.strerror}") from None
    if unknown := document.keys() - SECTIONS.keys():
        known = ", ".join(SECTIONS.values())
        raise Unconfigured(f"{place}: [{sorted(unknown)[0]}] is no section: there are {known}")
    found = document.get(name, {})
    if not isinstance(found, dict) or ("NAME" in SECTIONS[name] and not all(isinstance(one, dict) for one in found.values())):
        raise Unconfigured(f"{place}: {name} is no section: write {SECTIONS[name]}")
    return found


def _parse(place: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        line = str(error)[str(error).rfind("(at ") :] if "(at " in str(error) else ""
        raise Unconfigured(f"{place} is not TOML {line}".rstrip()) from None
