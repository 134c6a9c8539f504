"""Secrets taken out of what is recorded: by the name of the option or field, or by the form of the value.

In doubt a value goes: a run without one argument can still be understood, a leaked password can't be taken back. What
training code is full of, such as `--max-tokens 5`, `--pad-token <pad>` or a commit, stays.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

REDACTED = "<redacted>"

_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|passcode|secret(?!ary)|credential|api_?key|authorization"
    r"|(?:^|_)(?:pass|userpass|pwd|pw|auth|creds|dsn|jwt|otp|sas|bearer|mnemonic|cookies?|signature|session_?id|session_key)$"
    r"|(?:^|_)(?:gh|github|gitlab)_pat$"
    r"|conn(?:ection)?_?str(?:ing)?$|(?:access|account|auth|client|deploy|encryption|licen[cs]e|master|private|service|shared"
    r"|signing|ssh|storage|subscription|anthropic|azure|comet|hf|kaggle|neptune|openai|wandb)_?key$"
    r"|token$|(?:auth|access|api|refresh)_?tokens$"
)
"""Of a name in lower case with _ between its words. Words that have other uses count only where the name ends with them."""
_VOCABULARY = re.compile(
    r"(?:^|_)(?:pad|eos|bos|unk|mask|cls|sep|start|end|max|min|num|n|per|page|next|special|image|audio|prompt|placeholder"
    r"|initializer|trigger|class|sot|eot|eod|blank|space|delimiter|stop|first|last|fim|img|video|separator|replace)_token$"
)
"""Names that end with `token` and mean a language model's, or a cursor."""
_SECRET_VALUE = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bhf_[A-Za-z0-9]{30,}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bxapp-[\w-]{10,}|\bsk-(?=[\w-]{0,99}\d)[A-Za-z0-9_-]{20,}|\b[prs]k_(?:live|test)_\w{16,}"
    r"|\b(?:github_pat_|gl[a-z]{2,5}-|npm_|nvapi-|gsk_|r8_|dop_v1_|wandb_v1_|pypi-|ya29\.|SG\.|hv[bs]\.|dckr_pat_"
    r"|GOCSPX-|shp\w\w_|KGAT_|AGE-SECRET-KEY-)(?=[\w.-]{0,99}\d)[\w.-]{20,}|\bdapi[0-9a-f]{32}|\b\d{8,10}:AA[\w-]{33}"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+|(?<=/api/webhooks/)[\w/-]+|\beyJ[\w-]{8,2000}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY[\s\S]*"
    r"|(?i:(?<=bearer )|(?<=basic ))(?=\S*\d)[\w+/.~-]{12,}=*|(?i:(?<=authorization: )|(?<=cookie: )).+"
)
_LOGIN = re.compile(
    r"(?<=//)(?<!abfs://)(?<!abfss://)(?<!wasb://)(?<!wasbs://)(?!git@)(?:[^/\s]+|[^/\s:@]+:(?!\d+/)\S{1,256})(?=@)"
    r"|(?<![\w.+/<>-])[\w.+-]{1,64}:[^\s/@]{1,256}(?=@(?!sha256:|\d+\.\d+(?![.\d]))(?:localhost|[\w-]+[.:/]))"
)
"""Who logs in, in a URL or `user:password@host`; Azure's containers and a docker image's digest are no hosts."""
_NAME = re.compile(r"""(?<![\w.-])(?:[\w.-]+\\*["']?\s*[:=](?!//)\s*|--?[A-Za-z][\w.-]*[ \t]+(?=\S))""")
_VALUE = re.compile(r"""[|>][-+\d]*[ \t]*\n[\s\S]*|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[{\[][\s\S]*|[^&;\n]+""")
_PARAMETERS = frozenset({"sig", "key"})
"""Secret as names in a URL, where elsewhere they are words like others."""

_VALUE_OF_SECRET = re.compile(r"(?!--[A-Za-z])")
_PLURAL = re.compile(r"(?i)(?:key|token|secret|password|credential|cookie)s$")
_MORE_VALUES = re.compile(r"[^-]")
"""What follows the first value of an option whose name is a plural."""
_PAIR = re.compile(r"[^-][^:]*:.")
_SHORT_OPTIONS = {"-p": re.compile(r"[^-]*[^-\d.].*"), "-u": _PAIR, "--user": _PAIR, "--proxy-user": _PAIR}
"""What curl, mysql and others take a password behind; `-p 8080` is a port or a number of processes."""

_HOME = os.path.expanduser("~")
_HOMES = re.compile(
    r"(?:(?<![\w.~/\\-])|(?<=file://)|(?<=:///))(?:"
    + (rf"{re.escape(_HOME)}(?![\w.-])|" if os.path.isabs(_HOME) and os.path.dirname(_HOME) != _HOME else "")
    + r"(?:[A-Za-z]:)?[/\\](?:home|Users)[/\\][^/\\\s:;,\"']+)"
)


def redact(arguments: list[str]) -> list[str]:
    """The arguments without what looks like a secret: by its own form, or by the option that stands before it."""
    shown, hidden, several = list[str](), None, False
    for argument in arguments:
        if hidden and hidden.match(argument):
            shown.append(REDACTED)
            hidden = _MORE_VALUES if several else None
            continue
        name, equals, value = argument.partition("=")
        secret = bool(re.fullmatch(r"[\w.+-]+", name)) and _is_secret(name)
        short, several = _SHORT_OPTIONS.get(name), bool(_PLURAL.search(name))
        if equals and (secret or (short and short.match(value))):
            shown.append(name + equals + REDACTED)
            hidden = None
        else:
            shown.append(redact_text(argument))
            hidden = None if equals or not name.startswith("-") else _VALUE_OF_SECRET if secret else short
    return shown


def redact_text(text: str) -> str:
    """A text, such as a URL or a header, without what looks like a secret in it, and with `~` for home folders."""
    shown = _without_secrets(text.encode("utf-8", "replace").decode())  # arguments may hold bytes that are no UTF-8
    decoded = unquote(shown)
    plain = _without_secrets(decoded)
    return shown if plain == decoded else plain


def _without_secrets(text: str) -> str:
    text = _LOGIN.sub(REDACTED, _SECRET_VALUE.sub(REDACTED, text))
    shown, start = "", 0
    while found := _NAME.search(text, start):
        shown, before = shown + text[start : found.end()], text[: found.start()][-1:]
        start = found.end()
        name = re.split(r"[\\\"'\s:=]", found[0].lstrip(), maxsplit=1)[0]
        secret = _is_secret(name) or (name.lower() in _PARAMETERS and before in ("?", "&", "#"))
        if secret and (value := _VALUE.match(text, start)):
            quote = value[0][0] if value[0][0] in "\"'" else ""
            shown += quote + REDACTED + quote
            start = value.end()
    return _HOMES.sub("~", shown + text[start:])


def _is_secret(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    name = re.sub(r"[\W_]+", "_", words).strip("_").lower()
    return bool(_SECRET_NAME.search(name)) and not _VOCABULARY.search(name)
