"""Times: what people write becomes an instant or a whole UTC day, and text order is time order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb import times
from ifpdb.errors import UsageError

NOW = "2026-03-01T12:00:00.000000Z"
MOMENTS = st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))]))


def instant(text: str) -> times.When:
    return times.When(text, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-11-14T09:30:00Z", "2025-11-14T09:30:00.000000Z"),
        ("2025-11-14t09:30:00z", "2025-11-14T09:30:00.000000Z"),
        ("2025-11-14T09:30", "2025-11-14T09:30:00.000000Z"),
        ("2025-11-14 09:30:00", "2025-11-14T09:30:00.000000Z"),
        ("2025-11-14T09:30:00.25+02:00", "2025-11-14T07:30:00.250000Z"),
        ("2025-11-14T09:30:00-05:00", "2025-11-14T14:30:00.000000Z"),
        ("now", NOW),
        ("3 days ago", "2026-02-26T12:00:00.000000Z"),
        ("an hour ago", "2026-03-01T11:00:00.000000Z"),
        ("2 WEEKS ago", "2026-02-15T12:00:00.000000Z"),
        ("1 month ago", "2026-01-30T12:00:00.000000Z"),
    ],
)
def test_a_time_is_an_instant_and_no_zone_means_utc(text: str, expected: str) -> None:
    assert times.parse_when(text, now=NOW) == instant(expected)


@pytest.mark.parametrize(
    ("text", "first", "next_day"),
    [
        ("2025-11-14", "2025-11-14", "2025-11-15"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("today", "2026-03-01", "2026-03-02"),
        ("Yesterday", "2026-02-28", "2026-03-01"),
    ],
)
def test_a_date_is_a_whole_utc_day(text: str, first: str, next_day: str) -> None:
    when = times.parse_when(text, now=NOW)
    assert when == times.When(f"{first}T00:00:00.000000Z", f"{next_day}T00:00:00.000000Z")
    assert when.is_day


def test_python_dates_and_datetimes_are_understood() -> None:
    assert times.parse_when(date(2025, 11, 14), now=NOW) == times.parse_when("2025-11-14", now=NOW)
    assert times.parse_when(datetime(2025, 11, 14, 9, 30), now=NOW) == instant("2025-11-14T09:30:00.000000Z")


@pytest.mark.parametrize(
    "text",
    ["", " ", "tomorrow", "14.11.2025", "2025-11-31", "2025-11", "2025-W46-5", "20251114", "2025-11-14T", "2025-11-14T25:00",
     "days ago", "-3 days ago", "3 days", "999999 years ago", "9999-12-31", "0001-01-01T00:00:00+14:00", "1763112600"],
)  # fmt: skip
def test_nonsense_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="write a date"):
        times.parse_when(text, now=NOW)


def test_the_last_day_there_is_has_no_end() -> None:
    with pytest.raises(UsageError, match="is no time"):
        times.parse_when(date.max, now=NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    try:
        when = times.parse_when(text, now=NOW)
    except UsageError:
        return
    assert when.start <= when.end


@given(MOMENTS.filter(lambda m: 1 < m.year < 9999))
def test_a_written_time_is_read_back(moment: datetime) -> None:
    text = times.write_time(moment)
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    assert times.read_time(text) == utc
    assert len(text) == 27
    assert times.parse_when(text, now=NOW) == instant(text)
    assert times.from_microseconds(times.to_microseconds(text)) == text


@given(st.datetimes(), st.datetimes())
def test_text_order_is_time_order(a: datetime, b: datetime) -> None:
    assert (a < b) == (times.write_time(a) < times.write_time(b))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)))
def test_the_next_microsecond_is_the_next(moment: datetime) -> None:
    text = times.write_time(moment)
    assert text < times.one_microsecond_after(text)
    assert times.one_microsecond_before(times.one_microsecond_after(text)) == text


def test_now_is_between_two_looks_at_the_clock() -> None:
    before = datetime.now(UTC)
    assert before <= times.read_time(times.now()) <= datetime.now(UTC)
