"""What runs inside Redis: one script for all operations, each one atomic step at the server's time.

Every operation may be sent twice, in case an answer was lost. Times are in milliseconds, which Lua's numbers
hold exactly. Under the prefix there are

=================  ======  =================================================================================
``link:*``         hash    attempts for one link by number, each with when it is over; ``sent``: the latest
``login:*``        zset    attempts in flight under a login, by when they are over should they never end
``failed:*``       zset    a host's failed logins, and attempts not proven, by when they (may) have failed
``pause:*``        hash    a host or secret held back; ``probe`` is the attempt let through to try
``readings``       hash    what is kept of each link
``read``           zset    the same links, by when they were last kept: those long gone are dropped
=================  ======  =================================================================================

and each has an expiry. The channel ``announcements`` tells of readings, pauses and failed logins.
"""

from __future__ import annotations

import hashlib
import json
from math import ceil
from typing import TYPE_CHECKING, Any

from exporter.model import Reading, State
from exporter.rules import ATTEMPTS, FAILED_LOGIN_SPAN, FAILED_LOGINS, HARD_CAP, SPAN
from exporter.store.backend import Denied, Kept, Pause, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model import Snapshot
    from exporter.store.backend import Attempt

    Argument = str | int
    Call = tuple[list[str], list[Argument]]

KEEP = 30 * 24 * 3600.0
"""How long a reading is kept that nobody renews, and a pause that nobody lifts."""

AGAIN = 1.0
"""When to ask again if what is in the way is somebody's request in flight: it may end at any moment."""

_FIGURES = {
    "ATTEMPTS": ATTEMPTS,
    "SPAN": int(SPAN * 1000),
    "HARD_CAP": HARD_CAP,
    "FAILED_LOGINS": FAILED_LOGINS,
    "FAILED_LOGIN_SPAN": int(FAILED_LOGIN_SPAN * 1000),
    "KEEP": int(KEEP * 1000),
    "AGAIN": int(AGAIN * 1000),
}

_BODY = r"""
local op, ahead, writer, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ahead

local function whole(number) return string.format('%.0f', number) end
local function argument(index) return tonumber(ARGV[index]) end

-- Never shortens what is left: another attempt may need the key for longer.
local function outlive(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, whole(ms)) end
end

local function announce(...) redis.call('PUBLISH', channel, cjson.encode({writer, ...})) end

local function paused(key, scope)
  local state, till, count, over = unpack(redis.call('HMGET', key, 'state', 'until', 'count', 'over'))
  if not state then return nil end
  local left = till - now
  if left <= 0 and state ~= 'throttled' then
    left = math.min((tonumber(over) or 0) - now, AGAIN)
  end
  if left > 0 then return {0, scope, whole(left), state, count} end
end

local function probe(key, number, over)
  local state = redis.call('HGET', key, 'state')
  if not state or state == 'throttled' then return false end
  redis.call('HSET', key, 'probe', number, 'over', whole(over))
  return true
end

-- Attempts not proven count from when they may have failed at the latest.
local function budget(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - FAILED_LOGIN_SPAN))
  local known = redis.call('ZREVRANGE', key, 0, -1, 'WITHSCORES')
  if #known < 2 * FAILED_LOGINS then return nil end
  local free = known[2 * FAILED_LOGINS] + FAILED_LOGIN_SPAN - now
  if tonumber(known[2]) > now then free = math.min(free, AGAIN) end
  return {0, 'host', whole(free)}
end

local function crowded(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  if redis.call('ZCARD', key) < HARD_CAP then return nil end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return {0, 'login', whole(math.min(first[2] - now, AGAIN))}
end

-- The attempts that still count, in order, and the latest. The server's clock may have been set back:
-- what seems to lie in the future counts from now on, or it would hold the link back for as long.
local function window(key, lasts)
  local found, gone, sent = redis.call('HGETALL', key), {}, nil
  for i = 1, #found, 2 do
    local field, at = found[i], tonumber(found[i + 1])
    local latest = now + (field == 'sent' and 0 or lasts)
    if at > latest then
      at = latest
      redis.call('HSET', key, field, whole(at))
    end
    if field == 'sent' then sent = at
    elseif at + SPAN > now then gone[#gone + 1] = at
    else redis.call('HDEL', key, field) end
  end
  table.sort(gone)
  return gone, sent
end

local function claim()
  local link, login, failed, host, secret = unpack(KEYS)
  local number, apart, lasts, proven = ARGV[5], argument(6), argument(7), ARGV[8] == '1'
  if redis.call('HEXISTS', link, number) == 1 then return {1} end
  local denied = paused(host, 'host') or paused(secret, 'login')
    or (not proven and budget(failed)) or crowded(login)
  if denied then return denied end
  local gone, sent = window(link, lasts)
  if #gone >= ATTEMPTS then
    return {0, 'link', whole(gone[#gone - ATTEMPTS + 1] + SPAN - now)}
  end
  if sent and sent + apart > now then return {0, 'link', whole(sent + apart - now)} end
  local over = now + lasts
  redis.call('HSET', link, 'sent', whole(now), number, whole(over))
  outlive(link, math.max(lasts + SPAN, apart))
  redis.call('ZADD', login, whole(over), number)
  outlive(login, lasts)
  if not proven then
    redis.call('ZADD', failed, whole(over), number)
    outlive(failed, lasts + FAILED_LOGIN_SPAN)
  end
  local host_tried, secret_tried = probe(host, number, over), probe(secret, number, over)
  return {(host_tried or secret_tried) and 2 or 1}
end

local function refused(key, number, at, host)
  redis.call('ZADD', key, whole(at), number)
  outlive(key, FAILED_LOGIN_SPAN)
  announce('failed', host, number, now - at)
end

-- How an attempt stands: when it ended, or that it has not.
local function record()
  local link, login, failed, host, secret = unpack(KEYS)
  local number, sent, ended = ARGV[5], now - ARGV[6], argument(7)
  local lasts, proven, login_failed = argument(8), ARGV[9] == '1', ARGV[10] == '1'
  local over = ended < 0 and sent + lasts or now - ended
  if over + SPAN > now then
    local latest = tonumber(redis.call('HGET', link, 'sent') or 0)
    redis.call('HSET', link, 'sent', whole(math.max(sent, latest)), number, whole(over))
    outlive(link, lasts + SPAN)
  end
  if ended < 0 and over > now then
    redis.call('ZADD', login, whole(over), number)
    outlive(login, lasts)
  elseif ended >= 0 then
    redis.call('ZREM', login, number)
    for _, key in ipairs({host, secret}) do
      if redis.call('HGET', key, 'probe') == number then redis.call('HDEL', key, 'probe', 'over') end
    end
  end
  if login_failed then
    refused(failed, number, over, ARGV[11])
  elseif ended < 0 and not proven then
    redis.call('ZADD', failed, whole(over), number)
    outlive(failed, lasts + FAILED_LOGIN_SPAN)
  else
    redis.call('ZREM', failed, number)
  end
end

-- What was said later stands, also where it comes here first. A lifted pause is remembered for that.
local function hold()
  local key, name, at, state, left, count = KEYS[1], ARGV[5], now - ARGV[6], ARGV[7], argument(8), ARGV[9]
  local said = tonumber(redis.call('HGET', key, 'at') or 0)
  if said > at and said <= now then return end
  redis.call('DEL', key)
  redis.call('HSET', key, 'at', whole(at))
  redis.call('PEXPIRE', key, whole(FAILED_LOGIN_SPAN))
  if state ~= '' then
    redis.call('HSET', key, 'state', state, 'until', whole(at + left), 'count', count)
    redis.call('PEXPIRE', key, whole(left + KEEP))
  end
  announce('hold', name, state, at + left - now, tonumber(count))
end

local function keep()
  local readings, read = unpack(KEYS)
  local field, age, total, target, reading = ARGV[5], argument(6), ARGV[7], ARGV[8], ARGV[9]
  local at, by, old = age < 0 and 0 or now - age, writer, redis.call('HGET', readings, field)
  if old then
    local o_at, o_total, _, o_target, o_reading = string.match(old, '^(%d+)\n(%d+)\n(.-)\n(.-)\n(.*)$')
    o_at = tonumber(o_at or 0)
    if o_at > now then o_at = 0 end
    if o_target ~= target then
      if o_at > at then return end
    else
      if tonumber(o_total) > tonumber(total) then total, by = o_total, '' end
      if o_at > at then at, reading, by = o_at, o_reading, '' end
    end
  end
  local value = table.concat({whole(at), total, by, target, reading}, '\n')
  redis.call('HSET', readings, field, value)
  redis.call('ZADD', read, whole(now), field)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', read, '-inf', whole(now - KEEP), 'LIMIT', 0, 10)) do
    redis.call('HDEL', readings, gone)
    redis.call('ZREM', read, gone)
  end
  redis.call('PEXPIRE', readings, whole(KEEP))
  redis.call('PEXPIRE', read, whole(KEEP))
  announce('keep', field, value, now)
end

local function failure() refused(KEYS[1], ARGV[5], now - ARGV[6], ARGV[7]) end

return ({claim = claim, record = record, hold = hold, keep = keep, failure = failure})[op]()
"""

LUA = "".join(f"local {name} = {figure}\n" for name, figure in _FIGURES.items()) + _BODY


class Script:
    """Builds the calls for one exporter, which signs as ``writer``.

    ``ahead`` is how far, in seconds, the ledger's time runs ahead of the server's clock. Only tests let it:
    they can't set that clock.
    """

    def __init__(self, prefix: str, writer: str, ahead: Callable[[], float]) -> None:
        self.writer = writer
        self.channel = f"{prefix}announcements"
        self.readings = f"{prefix}readings"
        self._prefix = prefix
        self._ahead = ahead

    @property
    def ahead(self) -> int:
        """In milliseconds."""
        return int(self._ahead() * 1000)

    def _call(self, keys: list[str], op: str, *arguments: Argument) -> Call:
        return keys, [op, self.ahead, self.writer, self.channel, *arguments]

    def _keys(self, attempt: Attempt) -> list[str]:
        # A digest: a full link may be long, and is nobody's business who lists the keys.
        target = hashlib.blake2s("\n".join(attempt.target).encode(), digest_size=12).hexdigest()
        names = (f"link:{attempt.login}:{target}", f"login:{attempt.login}", f"failed:{attempt.host}")
        return [self._prefix + name for name in (*names, f"pause:{attempt.host}", f"pause:{attempt.secret}")]

    def claim(self, number: int, attempt: Attempt) -> Call:
        """Asks for leave; see ``answer``."""
        times = ceil(attempt.apart * 1000), ceil(attempt.lasts * 1000)
        return self._call(self._keys(attempt), "claim", number, *times, int(attempt.proven))

    def record(
        self, number: int, attempt: Attempt, sent: float, ended: float | None, *, login_failed: bool
    ) -> Call:
        """Says how an attempt stands that was sent, and ended, so many seconds ago."""
        ages = int(sent * 1000), -1 if ended is None else int(ended * 1000), ceil(attempt.lasts * 1000)
        flags = int(attempt.proven), int(login_failed)
        return self._call(self._keys(attempt), "record", number, *ages, *flags, attempt.host)

    def failure(self, number: int, host: str, ago: float) -> Call:
        """Says that a login failed so many seconds ago."""
        return self._call([f"{self._prefix}failed:{host}"], "failure", number, int(ago * 1000), host)

    def hold(self, name: str, pause: Pause | None, ago: float) -> Call:
        """Says what was said of a host or secret so many seconds ago."""
        told = (pause.state.value, ceil(pause.seconds * 1000), pause.count) if pause else ("", 0, 0)
        return self._call([f"{self._prefix}pause:{name}"], "hold", name, int(ago * 1000), *told)

    def keep(self, snapshot: Snapshot, age: float | None) -> Call:
        """Keeps a reading, taken so many seconds ago."""
        link, reading = snapshot.link, snapshot.reading
        figures = [getattr(reading, name) for name in Reading.__slots__]
        texts = _json(link.target), _json(figures)
        ms = -1 if age is None else int(age * 1000)
        keys = [self.readings, f"{self._prefix}read"]
        return self._call(keys, "keep", _json(link.key), ms, str(snapshot.total), *texts)

    def kept(self, field: str, value: str, now: float, wall: float) -> Kept | None:
        """What was kept, the server's time being ``now`` and ours ``wall``; None if we kept it ourselves.

        Only the age goes from clock to clock. Raises ``ValueError`` if no exporter wrote this.
        """
        at, total, writer, target, reading = value.split("\n")
        if writer == self.writer:
            return None
        age = (now - int(at)) / 1000
        # A reading from the server's future: its clock was set back since, by nobody knows how much.
        read_at = wall - age if int(at) and age >= 0 else 0.0
        (account, name), (kind, which), figures = json.loads(f"[{field},{target},{reading}]")
        return Kept(account, name, (kind, which), Reading(*figures), read_at, int(total))


def answer(told: list[Any]) -> Denied | bool:
    """What the script said to a claim; where it is granted, whether as a pause's probe."""
    if told[0]:
        return bool(told[0] == 2)
    scope, seconds = Scope(told[1]), int(told[2]) / 1000
    pause = Pause(State(told[3]), seconds, int(told[4])) if told[3:] else None
    return Denied(scope, seconds, pause)


def _json(value: object) -> str:
    """On one line, whatever is in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
