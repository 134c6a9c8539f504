"""Secrets taken out of what is recorded: by the name of the option or variable, or by the form of the value."""

from __future__ import annotations

import re

_SECRET_KEY = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token(?!i|s)|api[_-]?key|auth(?!or(?!iz))|credential|private|session|cookie|dsn|signature"
    r"|conn(ection)?[_-]?str|access[_-]?key|\bsas\b)"
)
_SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"
    r"|(?<=://)[^/\s]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[\w+/.~-]+=*"
)
_SECRET_FIELD = re.compile(
    r"(?i)([?&;][\w.-]*(?:sig|token|key|secret|pass|auth|cred|x-amz-)[\w.-]*=)[^&;\s]+"  # in a URL
    r"|([\w-]*(?:passw|passphrase|secret|token(?!i|s)|api[_-]?key|authorization|credential|cookie)[\w-]*[\"']?\s*[:=]\s*)(?!//).+"
)


def redact(arguments: list[str]) -> list[str]:
    """The arguments with what looks like a secret replaced by <redacted>: by the option's name, or by its own form."""
    shown, hide_next = [], False
    for argument in arguments:
        argument = _SECRET_FIELD.sub(r"\1\2<redacted>", _SECRET_VALUE.sub("<redacted>", argument))
        key, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("--"):
            shown.append("<redacted>")
            hide_next = False
        elif _SECRET_KEY.search(key) and (equals or key.startswith("-")):
            shown.append(key + equals + ("<redacted>" if equals else ""))
            hide_next = not equals
        else:
            shown.append(argument)
            hide_next = False
    return shown


def redact_text(text: str) -> str:
    """A text, such as a URL, without what looks like a secret in it."""
    return _SECRET_FIELD.sub(r"\1\2<redacted>", _SECRET_VALUE.sub("<redacted>", text))
