"""The Lua scripts of the guard in Redis. Each runs as one atomic step.

Keys: the thread, the record under an `Idempotency-Key`, the mark of a recent body, and the thread's interrupt ids. The
first argument is the token of the resume. Times are in microseconds. Every script may run twice.

The fields of a thread:
- `version`: the name of its last acceptance. Names are only compared: they do not depend on a clock.
- `at`: the time of that acceptance, by the store's clock; only its distance from now is used.
- `unsettled`: whether its run has not been seen idle since; `rested`: when it was.
- `answered`: the questions that it answered (JSON); `committed`: when the thread's state was seen to show it.
- `holder`, `until`, `lease`: the resume that holds the thread, the end of its lease, and the lease's length.
- `answers`: the questions that the holder is about to answer (JSON), until it is accepted.

The store's clock may be set. A lease never has more time left than its length: if it has, the clock was set back, and
the lease starts anew. A clock that is set ahead ends leases early.

The ledger's scripts, the last two, have one key: the thread's list.
"""

from __future__ import annotations

SCRIPTS: dict[str, str] = {}
PRELUDE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local thread, answer, again, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token = ARGV[1]
local function whole(n) return string.format('%.0f', n) end
local function write(...)
  redis.call('HSET', thread, ...)
  redis.call('PEXPIRE', thread, 86400000)
end
local function release() redis.call('HDEL', thread, 'holder', 'until', 'lease', 'answers') end
-- Returns the time left of the lease in a hash.
local function left(key)
  local s = redis.call('HMGET', key, 'until', 'lease')
  local left, lease = tonumber(s[1] or 0) - now, tonumber(s[2] or 0)
  if left <= lease then return left end
  redis.call('HSET', key, 'until', whole(now + lease))
  return lease
end
local function accept(version, at, answers)
  write('version', version, 'at', at, 'unsettled', '1', 'answered', answers)
  redis.call('HDEL', thread, 'committed')
end
-- Returns the thread's version, and another resume that holds it. An expired lease counts as accepted at its end.
local function state()
  local s = redis.call('HMGET', thread, 'version', 'holder', 'until', 'answers')
  local version, holder = s[1] or '', s[2]
  if not holder or holder == token then return version, false end
  if left(thread) > 0 then return version, holder end
  if s[4] then
    version = holder .. ' lapsed'
    accept(version, s[3], s[4])
  end
  release()
  return version, false
end
-- Returns the microseconds since a moment; an empty string if there was none.
local function since(moment) return moment and whole(now - moment) or '' end
local function owned() return redis.call('HGET', answer, 'owner') == token end
local function keep(fingerprint, lease, milliseconds)
  if milliseconds == '0' or not (owned() or redis.call('EXISTS', answer) == 0) then return end
  redis.call('HSET', answer, 'owner', token, 'fingerprint', fingerprint, 'until', whole(now + lease), 'lease', lease)
  redis.call('PEXPIRE', answer, milliseconds)
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

SCRIPTS["arrive"] = """
local version = state()
local s = redis.call('HMGET', thread, 'at', 'rested', 'unsettled', 'answered', 'committed')
if s[1] and tonumber(s[1]) > now then write('at', whole(now)) end
local kept = redis.call('HMGET', answer, 'fingerprint', 'accepted', 'run', 'reply')
return {whole(now), version, since(s[1]), since(s[2]), s[3] == '1' and 1 or 0, s[4] or '[]', since(s[5]),
        redis.call('EXISTS', again), redis.call('LRANGE', ids, 0, -1),
        kept[1] or '', left(answer) > 0 and 1 or 0, kept[2] or '', kept[3] or '', kept[4] or ''}
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
write('holder', token, 'until', whole(now + lease), 'lease', lease, 'answers', answers)
if list ~= '[]' then remember(list, lifetime) end
keep(fingerprint, lease, milliseconds)
if window ~= '0' then redis.call('SET', again, token, 'PX', window) end
return 'held'
"""

SCRIPTS["renew"] = """
if owned() and redis.call('HGET', answer, 'until') ~= '0' then
  redis.call('HSET', answer, 'until', whole(now + ARGV[2]))
end
if redis.call('HGET', thread, 'holder') ~= token then return 0 end
write('until', whole(now + ARGV[2]))
return 1
"""

SCRIPTS["accepted"] = """
local version, age, run, lease, hold, answers = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local fingerprint, milliseconds = ARGV[8], ARGV[9]
local _, holder = state()
if not holder then release() end
if not holder and hold == '1' then write('holder', token, 'until', whole(now + lease), 'lease', lease) end
accept(version, whole(now - age), answers)
if not owned() then keep(fingerprint, lease, milliseconds) end
if owned() then redis.call('HSET', answer, 'accepted', '1', 'run', run) end
return 1
"""

SCRIPTS["committed"] = """
if redis.call('HGET', thread, 'version') == ARGV[2] then write('committed', whole(now)) end
if redis.call('HGET', thread, 'holder') == token then release() end
return 1
"""

SCRIPTS["known"] = """
if owned() then redis.call('HSET', answer, 'run', ARGV[2]) end
return 1
"""

SCRIPTS["untaken"] = """
if redis.call('HGET', thread, 'holder') == token then release() end
if owned() then redis.call('DEL', answer) end
if redis.call('GET', again) == token then redis.call('DEL', again) end
return 1
"""

SCRIPTS["keep"] = """
if owned() then
  redis.call('HSET', answer, 'until', '0', 'accepted', '1')
  if ARGV[2] ~= '' then redis.call('HSET', answer, 'reply', ARGV[2]) end
end
return 1
"""

SCRIPTS["settled"] = """
if state() == ARGV[2] then
  write('unsettled', '0', 'rested', whole(now), 'committed', whole(now))
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
