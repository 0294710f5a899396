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
``members``        zset    the exporters that share all this, by when they last said that they were here
``epoch``          string  since when, and in which run of the server, nothing has been forgotten
=================  ======  =================================================================================

and each has an expiry. The channel ``announcements`` tells of readings, pauses and failed logins.
"""

from __future__ import annotations

from exporter.rules import ATTEMPTS, FAILED_LOGIN_SPAN, FAILED_LOGINS, HARD_CAP, SPAN

KEEP = 30 * 24 * 3600.0
"""How long a reading is kept that nobody renews, and a pause that nobody lifts."""

AGAIN = 1.0
"""When to ask again if what is in the way is somebody's request in flight: it may end at any moment."""

REPLICAS = ATTEMPTS
"""Exporters that stay inside the limits together, each by itself: one request a minute for a link each."""

IN_FLIGHT = HARD_CAP // REPLICAS
"""Requests in flight under a login, in each."""

GRACE = 15.0
"""Seconds without a word after which an exporter is missing: it may have lost Redis, and go on by itself."""

ALONE = 24 * 3600.0
"""Seconds that an exporter goes on by itself at most, since those with Redis heard of it last."""

FORGOTTEN = ALONE + 300.0
"""Seconds for which they leave room for it: what it sent last is over by then."""

_FIGURES = {
    "ATTEMPTS": ATTEMPTS,
    "SPAN": int(SPAN * 1000),
    "HARD_CAP": HARD_CAP,
    "FAILED_LOGINS": FAILED_LOGINS,
    "FAILED_LOGIN_SPAN": int(FAILED_LOGIN_SPAN * 1000),
    "KEEP": int(KEEP * 1000),
    "AGAIN": int(AGAIN * 1000),
    "REPLICAS": REPLICAS,
    "IN_FLIGHT": IN_FLIGHT,
    "GRACE": int(GRACE * 1000),
    "FORGOTTEN": int(FORGOTTEN * 1000),
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

-- How many exporters may be going on by themselves: what each of them allows itself is not for us to grant.
local function missing(members)
  local silent = redis.call('ZCOUNT', members, whole(now - FORGOTTEN), whole(now - GRACE))
  return math.min(silent, REPLICAS - 1)
end

-- Attempts not proven count from when they may have failed at the latest.
local function budget(key, allowed)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - FAILED_LOGIN_SPAN))
  local known = redis.call('ZREVRANGE', key, 0, -1, 'WITHSCORES')
  if #known < 2 * allowed then return nil end
  local free = known[2 * allowed] + FAILED_LOGIN_SPAN - now
  if tonumber(known[2]) > now then free = math.min(free, AGAIN) end
  return {0, 'host', whole(free)}
end

local function crowded(key, allowed)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  if redis.call('ZCARD', key) < allowed then return nil end
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

-- Logins that failed before the epoch are not known of: until they count no longer, one may fail, as a start
-- of everything costs with a wrong password.
local function logins(epoch, absent)
  local young = now - (string.match(epoch, '^%d+') or now) < FAILED_LOGIN_SPAN
  return young and 1 or FAILED_LOGINS - absent
end

local function claim()
  local link, login, failed, host, secret, members, epoch = unpack(KEYS)
  local number, apart, lasts, proven, known = ARGV[5], argument(6), argument(7), ARGV[8] == '1', ARGV[9]
  if known ~= '' and redis.call('GET', epoch) ~= known then return {-1} end
  if redis.call('HEXISTS', link, number) == 1 then return {1} end
  local absent = missing(members)
  local denied = paused(host, 'host') or paused(secret, 'login')
    or (not proven and budget(failed, logins(known, absent)))
    or crowded(login, HARD_CAP - absent * IN_FLIGHT)
  if denied then return denied end
  local gone, sent = window(link, lasts)
  local allowed = ATTEMPTS - absent
  if #gone >= allowed then
    return {0, 'link', whole(gone[#gone - allowed + 1] + SPAN - now)}
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
  else
    redis.call('HDEL', link, number)
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
      -- Several may put back the same one, each as old as it seems to be there.
      local same = o_reading == reading and math.abs(o_at - at) < 1000
      if same and tonumber(o_total) >= tonumber(total) then return end
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

-- Says since when nothing has been forgotten: a server that was emptied, restarted or replaced may have.
local function hello()
  local key, run = KEYS[1], ARGV[5]
  local epoch = redis.call('GET', key)
  if not epoch or string.match(epoch, ' (.*)$') ~= run then epoch = whole(now) .. ' ' .. run end
  -- A server that is full refuses a script's first write alone, and only where that needs memory.
  redis.call('SET', key, epoch, 'PX', whole(KEEP))
  announce('hello')
  return {epoch, whole(now - string.match(epoch, '^%d+'))}
end

-- An exporter is, or was, here. Returns all that are known of, each with for how long it has been silent.
local function beat()
  local members, epoch = unpack(KEYS)
  local name, seen = ARGV[5], now - ARGV[6]
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', members, '(' .. whole(now), '+inf')) do
    redis.call('ZADD', members, whole(now), ahead)
  end
  redis.call('ZREMRANGEBYSCORE', members, '-inf', whole(now - FORGOTTEN))
  redis.call('ZADD', members, whole(math.max(seen, redis.call('ZSCORE', members, name) or 0)), name)
  redis.call('PEXPIRE', members, whole(FORGOTTEN))
  redis.call('PEXPIRE', epoch, whole(KEEP))
  local found = redis.call('ZRANGE', members, 0, -1, 'WITHSCORES')
  for i = 2, #found, 2 do found[i] = whole(now - found[i]) end
  return found
end

local function bye() redis.call('ZREM', KEYS[1], ARGV[5]) end

return ({
  claim = claim, record = record, hold = hold, keep = keep, failure = failure,
  hello = hello, beat = beat, bye = bye,
})[op]()
"""

LUA = "".join(f"local {name} = {figure}\n" for name, figure in _FIGURES.items()) + _BODY
