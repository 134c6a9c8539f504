"""Times as people write them and as the registry keeps them.

The registry keeps UTC text with microseconds and a Z, so that text order is time order. No zone means UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from .errors import UsageError

_AGO = re.compile(r"(\d{1,6}|an?) (second|minute|hour|day|week|month|year)s? ago", re.I)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*", re.ASCII | re.I)
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class When:
    """An instant (`start == end`), or a whole UTC day as [start, end). Both are registry times."""

    start: str
    end: str

    @property
    def is_day(self) -> bool:
        return self.start != self.end


def write_time(moment: datetime) -> str:
    """`2025-11-14T09:30:00.000000Z`; a datetime without a zone is UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def read_time(text: str) -> datetime:
    """The UTC datetime of a registry time."""
    return datetime.fromisoformat(text)


def now() -> str:
    """The clock, as a registry time."""
    return write_time(datetime.now(UTC))


def one_microsecond_after(text: str) -> str:
    """The next registry time."""
    return write_time(read_time(text) + timedelta(microseconds=1))


def one_microsecond_before(text: str) -> str:
    """The registry time before this one."""
    return write_time(read_time(text) - timedelta(microseconds=1))


def parse_when(value: str | datetime | date, *, now: str) -> When:
    """What a person means by `value`: a date, an RFC 3339 time, 'now', 'today', 'yesterday', '3 days ago'.

    Dates, 'today' and 'yesterday' are whole UTC days; everything else is an instant. A month is 30 days and a year
    365. Raises UsageError with the forms that are understood.
    """
    clock = read_time(now)
    text = str(value).strip()
    lower = text.lower()
    try:
        if isinstance(value, datetime):
            return _instant(value)
        if isinstance(value, date):
            return _day(value)
        if lower == "now":
            return _instant(clock)
        if lower == "today":
            return _day(clock.date())
        if lower == "yesterday":
            return _day(clock.date() - timedelta(days=1))
        if match := _AGO.fullmatch(text):
            return _instant(clock - _duration(match[1], match[2].lower()))
        if _DATE.fullmatch(text):
            return _day(date.fromisoformat(text))
        if _TIME.fullmatch(text):
            return _instant(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        pass  # one sentence below tells every way of being wrong
    raise UsageError(
        f"'{value}' is no time: write a date (2025-11-14), an RFC 3339 time (2025-11-14T09:30:00Z), 'yesterday' or '3 days ago'"
    )


def _instant(moment: datetime) -> When:
    text = write_time(moment)
    return When(text, text)


def _day(day: date) -> When:
    start = datetime.combine(day, time(), UTC)
    return When(write_time(start), write_time(start + timedelta(days=1)))


def _duration(count: str, unit: str) -> timedelta:
    number = 1 if count.lower() in ("a", "an") else int(count)
    if unit in _DAYS:
        return timedelta(days=number * _DAYS[unit])
    return timedelta(**{unit + "s": number})


def from_microseconds(count: int) -> str:
    """The registry time that many microseconds after 1970 began, UTC."""
    return write_time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count))


def to_microseconds(text: str) -> int:
    """Microseconds from the beginning of 1970 to a registry time."""
    since = read_time(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
