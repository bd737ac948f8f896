"""The Lua scripts of the guard in Redis. Each runs as one atomic step.

Keys: the thread, the record under an `Idempotency-Key`, the marker of a recent answer, the thread's interrupt ids, and
the marker of the same answer without the name of its question.
The first argument is the token of the resume. Times are in microseconds. Every script may run twice. A script has the
name of the method of `GuardSession` that runs it. `begin` reads the state at the arrival; `renew` extends the lease.

The fields of a thread:
- `version`: the name of its last acceptance. Names are only compared: they do not depend on a clock.
- `at`: the time of that acceptance, by the store's clock; only its distance from now is used.
- `in_flight`: 1 until the thread is seen idle after that acceptance; `idle_at`: the time at which it was seen idle.
- `answered`: the questions that it answered (JSON); `committed`: the time at which the thread's state showed it.
- `holder`, `until`, `lease`: the resume that holds the thread, the end of its lease, and the length of the lease.
- `answers`: the questions that the holder is about to answer (JSON), until it is accepted.

The fields of a record under an `Idempotency-Key`:
- `owner`: the token of the resume that created it; `fingerprint`: the digest of its body.
- `until`, `lease`: the end and the length of the lease of a resume in progress; `until` is 0 when it has ended.
- `accepted`: 1 if the backend took the resume, or may have; `run`: the run's id; `reply`: the encrypted response.

The store's clock may be changed. If a lease has more time left than its length, the clock was set back, and the lease
starts anew. A clock that is set forward ends leases early.

The ledger's scripts, the last two, have one key: the thread's list.
"""

from __future__ import annotations

SCRIPTS: dict[str, str] = {}
PRELUDE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local thread, record, recent, ids, unnamed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token = ARGV[1]
local function integer(n) return string.format('%.0f', n) end
local function write(...)
  redis.call('HSET', thread, ...)
  redis.call('PEXPIRE', thread, 86400000)
end
local function release() redis.call('HDEL', thread, 'holder', 'until', 'lease', 'answers') end
-- Returns the remaining time of the lease in a hash.
local function time_left(key)
  local s = redis.call('HMGET', key, 'until', 'lease')
  local left, lease = tonumber(s[1] or 0) - now, tonumber(s[2] or 0)
  if left <= lease then return left end
  redis.call('HSET', key, 'until', integer(now + lease))
  return lease
end
local function begin_window(milliseconds)
  redis.call('SET', recent, token, 'PX', milliseconds)
  redis.call('SET', unnamed, token, 'PX', milliseconds)
end
local function accept(version, at, answers)
  write('version', version, 'at', at, 'in_flight', '1', 'answered', answers)
  redis.call('HDEL', thread, 'committed')
end
-- Returns the thread's version, and another resume that holds it. An expired lease counts as accepted at its end.
local function state()
  local s = redis.call('HMGET', thread, 'version', 'holder', 'until', 'answers')
  local version, holder = s[1] or '', s[2]
  if not holder or holder == token then return version, false end
  if time_left(thread) > 0 then return version, holder end
  if s[4] then
    version = holder .. ' lapsed'
    accept(version, s[3], s[4])
  end
  release()
  return version, false
end
-- Returns the microseconds since a moment; an empty string if there was none.
local function since(moment) return moment and integer(now - moment) or '' end
local function owned() return redis.call('HGET', record, 'owner') == token end
local function create_record(fingerprint, lease, milliseconds)
  if milliseconds == '0' or not (owned() or redis.call('EXISTS', record) == 0) then return end
  redis.call('HSET', record, 'owner', token, 'fingerprint', fingerprint, 'until', integer(now + lease), 'lease', lease)
  redis.call('PEXPIRE', record, milliseconds)
end
local function remember(list, milliseconds)
  for _, id in ipairs(cjson.decode(list)) do
    redis.call('LREM', ids, 0, id)
    redis.call('LPUSH', ids, id)
  end
  redis.call('LTRIM', ids, 0, 63)
  redis.call('PEXPIRE', ids, milliseconds)
end
"""

SCRIPTS["begin"] = """
local version = state()
local s = redis.call('HMGET', thread, 'at', 'idle_at', 'in_flight', 'answered', 'committed')
if s[1] and tonumber(s[1]) > now then write('at', integer(now)) end
local stored = redis.call('HMGET', record, 'fingerprint', 'accepted', 'run', 'reply')
return {integer(now), version, since(s[1]), since(s[2]), s[3] == '1' and 1 or 0, s[4] or '[]', since(s[5]),
        redis.call('EXISTS', recent), redis.call('LRANGE', ids, 0, -1),
        stored[1] or '', time_left(record) > 0 and 1 or 0, stored[2] or '', stored[3] or '', stored[4] or ''}
"""

SCRIPTS["rival"] = """
local version, holder = state()
return {version, holder and 1 or 0}
"""

SCRIPTS["claim"] = """
local seen, deadline, lease, answers, list = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local fingerprint, milliseconds, window, lifetime = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local version, holder = state()
if version ~= seen then return 'accepted' end
if holder then return 'holding' end
if now > deadline then return 'late' end
write('holder', token, 'until', integer(now + lease), 'lease', lease, 'answers', answers)
if list ~= '[]' then remember(list, lifetime) end
create_record(fingerprint, lease, milliseconds)
if window ~= '0' then begin_window(window) end
return 'held'
"""

SCRIPTS["begin_window"] = """
begin_window(ARGV[2])
return 1
"""

SCRIPTS["renew"] = """
if owned() and redis.call('HGET', record, 'until') ~= '0' then
  redis.call('HSET', record, 'until', integer(now + ARGV[2]))
end
if redis.call('HGET', thread, 'holder') ~= token then return 0 end
write('until', integer(now + ARGV[2]))
return 1
"""

SCRIPTS["mark_accepted"] = """
local version, age, run, lease, hold, answers = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local fingerprint, milliseconds = ARGV[8], ARGV[9]
local _, holder = state()
if not holder then release() end
if not holder and hold == '1' then write('holder', token, 'until', integer(now + lease), 'lease', lease) end
accept(version, integer(now - age), answers)
if not owned() then create_record(fingerprint, lease, milliseconds) end
if owned() then redis.call('HSET', record, 'accepted', '1', 'run', run) end
return 1
"""

SCRIPTS["mark_committed"] = """
if redis.call('HGET', thread, 'version') == ARGV[2] then write('committed', integer(now)) end
if redis.call('HGET', thread, 'holder') == token then release() end
return 1
"""

SCRIPTS["mark_run_id"] = """
if owned() then redis.call('HSET', record, 'run', ARGV[2]) end
return 1
"""

SCRIPTS["mark_rejected"] = """
if redis.call('HGET', thread, 'holder') == token then release() end
if owned() then redis.call('DEL', record) end
for _, marker in ipairs({recent, unnamed}) do
  if redis.call('GET', marker) == token then redis.call('DEL', marker) end
end
return 1
"""

SCRIPTS["keep"] = """
if owned() then
  redis.call('HSET', record, 'until', '0', 'accepted', '1')
  if ARGV[2] ~= '' then redis.call('HSET', record, 'reply', ARGV[2]) end
end
return 1
"""

SCRIPTS["mark_idle"] = """
if state() == ARGV[2] then
  write('in_flight', '0', 'idle_at', integer(now), 'committed', integer(now))
end
return 1
"""

SCRIPTS["remember"] = """
remember(ARGV[2], ARGV[3])
return 1
"""

SCRIPTS["note"] = """
local entry, entries, lifetime = ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('LREM', thread, 0, entry)
redis.call('LPUSH', thread, entry)
redis.call('LTRIM', thread, 0, entries - 1)
redis.call('PEXPIRE', thread, lifetime)
return 1
"""

SCRIPTS["recall"] = """
return redis.call('LRANGE', thread, 0, -1)
"""
