"""The scripts that run inside Redis, and their arguments.

All keys share one hash tag, so that a cluster keeps them together, and a version, so that exporters with
another layout do not meet. No key expires: a server that evicts keys with an expiry loses none of them.

- ``events``: a stream of all events of the last minutes. Fields: ``e`` the event, empty for an entry that
  only marks a place; ``b`` whether it binds; ``a`` its age in milliseconds when it was appended.
- ``lasting``: a stream of those that count for hours. An entry without an event says when ``epoch`` began.
- ``readings``: a hash from link to its latest reading: when it was sent, total, target, figures, one a line.
- ``epoch``: a random word and the server's run id. Another word says that something may be forgotten.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from exporter.journal.journal import FORGET_READINGS, StoredReading
from exporter.journal.outbox import Entry
from exporter.limits import Event
from exporter.limits.constants import REMEMBERED
from exporter.limits.events import binds, decode, encode, lasting
from exporter.model import LinkKey

PREFIX = "{smsc-exporter:3}:"
EVENTS, LASTING, READINGS, EPOCH = KEYS = tuple(
    PREFIX + name for name in ("events", "lasting", "readings", "epoch")
)

PERMISSIONS = f"~{PREFIX}* +@read +@write +@scripting +@connection +info +time"
"""What the user may do, in the words of Redis' access control list."""

SLACK = 60.0
"""Seconds by which the server's clock may be changed without harm to the dates it gives."""

_KEEP = round((REMEMBERED + SLACK) * 1000)

HELLO = """
local events, lasting, readings, epoch = unpack(KEYS)
local known = redis.call('GET', epoch)
if not known or string.match(known, ' (.*)$') ~= ARGV[1] or redis.call('XLEN', events) == 0 then
  known = ARGV[2] .. ' ' .. ARGV[1]
  redis.call('XADD', lasting, '*', 'e', '', 'b', '0', 'a', '0')
end
redis.call('SET', epoch, known)
redis.call('XADD', events, '*', 'e', '', 'b', '0', 'a', '0')
redis.call('XTRIM', events, 'MINID', '0')
redis.call('HSET', readings, '', '')
redis.call('HDEL', readings, '')
return known
"""
"""Arguments: the server's run id, a new word. It writes to all keys, to see whether that is allowed."""

APPEND = f"""
local events, lasting, readings, epoch = unpack(KEYS)
local last, minid = ARGV[2], ARGV[3]
if redis.call('GET', epoch) ~= ARGV[1] or #redis.call('XRANGE', events, last, last) == 0 then
  return {{'forgotten', {{}}, ''}}
end
local news = redis.call('XRANGE', events, '(' .. last, '+')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function keep(link, age, total, target, figures)
  local at = now - age
  local was, kept, of, read = string.match(redis.call('HGET', readings, link) or '',
                                           '^(%d+)\\n(%d+)\\n([^\\n]*)\\n(.*)$')
  local later = was and tonumber(was) > at and tonumber(was) <= now
  if was and (of == target and tonumber(kept) > tonumber(total) or of ~= target and later) then
    total = kept
  end
  if later then at, target, figures = was, of, read end
  redis.call('HSET', readings, link, string.format('%.0f\\n%s\\n%s\\n%s', at, total, target, figures))
end

for _, entry in ipairs(cjson.decode(ARGV[4])) do
  local event, binding, lasts, age, link = unpack(entry)
  if event ~= '' then last = redis.call('XADD', events, '*', 'e', event, 'b', binding, 'a', age) end
  if lasts then
    redis.call('XADD', lasting, '*', 'e', event, 'b', binding, 'a', age)
    redis.call('XTRIM', lasting, 'MINID', string.format('%.0f', now - {_KEEP}))
  end
  if link then keep(unpack(link)) end
end
local verdict = 'yes'
for _, entry in ipairs(news) do
  if entry[2][4] == '1' then verdict = 'behind' end
end
for _, event in ipairs(verdict == 'yes' and cjson.decode(ARGV[5]) or {{}}) do
  last = redis.call('XADD', events, '*', 'e', event, 'b', '1', 'a', '0')
end
if last == ARGV[2] and #news > 0 then last = news[#news][1] end
if minid ~= '' then redis.call('XTRIM', events, 'MINID', minid) end
return {{verdict, news, last}}
"""
"""Arguments: epoch, position, the id before which events are dropped, entries, requests (both as JSON)."""

FORGET = f"""
local cursor, found = unpack(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
local oldest = (redis.call('TIME')[1] - {FORGET_READINGS:.0f}) * 1000
for place = 1, #found, 2 do
  local at = string.match(found[place + 1], '^%d+')
  if at and tonumber(at) < oldest then redis.call('HDEL', KEYS[1], found[place]) end
end
return cursor
"""
"""Deletes old readings among the next ones. Arguments: where to go on, how many. Returns where to go on."""

NEW_EPOCH = {"e": "", "b": "0", "a": "0"}
"""The entry of ``lasting`` that ``HELLO`` adds."""

Stored: TypeAlias = tuple[str, dict[str, str]]
"""An entry of a stream: its id and its fields."""


def arguments(entry: Entry, now: float, transit: float) -> list[object]:
    """The entry as ``APPEND`` takes it. Its reading may be older by ``transit`` when it gets there."""
    link = entry.reading is not None and _link(entry.reading, now - entry.sent_at + transit)
    if entry.event is None:
        return ["", "0", False, "0", link]
    flags = "1" if binds(entry.event) else "0", lasting(entry.event)
    return [encode(entry.event), *flags, str(round(max(0.0, now - entry.at) * 1000)), link]


def _link(reading: StoredReading, age: float) -> list[object]:
    return [encode(reading.link), round(age * 1000), str(reading.total), *reading.texts]


def stored_reading(link: LinkKey, value: str, server: float, wall: float) -> StoredReading:
    """A reading from the hash, where it is now ``server`` by the server's clock and ``wall`` by ours.

    Raises ``ValueError`` if no exporter wrote this.
    """
    at, total, target, figures = value.split("\n")
    age = server - _seconds(at)
    # A reading from the server's future: its clock was set back by an unknown time.
    read_at = wall - age if age >= 0 else 0.0
    return StoredReading.parse(link, target, figures, read_at, int(total))


def age_by_server(stored: Stored, server: float) -> float:
    """Seconds since the event of an entry, by the server's clock alone: too small rather than too large."""
    since = server - int(stored[0].partition("-")[0]) / 1000
    return max(0.0, since + recorded_age(stored) - SLACK)


def recorded_age(stored: Stored) -> float:
    """How many seconds old the event was when it was appended. Raises ``ValueError`` as ``event_of``."""
    return _seconds(stored[1].get("a", ""))


def _seconds(milliseconds: str) -> float:
    if not re.fullmatch("[0-9]{1,15}", milliseconds):
        raise ValueError("a number of milliseconds is none")
    return int(milliseconds) / 1000


def event_of(stored: Stored) -> Event | None:
    """The event; None for an entry without one. Raises ``ValueError`` if no exporter wrote this."""
    text = stored[1].get("e", "none")
    return decode(text) if text else None
