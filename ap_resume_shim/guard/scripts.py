"""What the guard in Redis does in the store, each as one step: Lua.

Keys: the thread's hold, what is kept under an `Idempotency-Key`, and the mark of a body that came. The first argument
is the token of the resume. Times are microseconds of the store's clock. Every script may be run twice.

The ledger's scripts, which are the last two, have one key: the thread's list.
"""

from __future__ import annotations

SCRIPTS: dict[str, str] = {}
PRELUDE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function whole(n) return string.format('%.0f', n) end
local thread, answer, again = KEYS[1], KEYS[2], KEYS[3]
local token = ARGV[1]
-- A hold that lapsed counts as accepted at that moment.
local function state()
  local s = redis.call('HMGET', thread, 'version', 'holder', 'until', 'unsettled')
  local version, holder, lapses, unsettled = tonumber(s[1] or 0), s[2], tonumber(s[3] or 0), s[4] == '1'
  if holder and holder ~= token and lapses <= now then
    version, holder, unsettled = math.max(version, lapses), false, true
  end
  return version, holder, unsettled
end
local function owned() return redis.call('HGET', answer, 'owner') == token end
"""

SCRIPTS["arrive"] = """
local version, _, unsettled = state()
local kept = redis.call('HMGET', answer, 'fingerprint', 'live', 'accepted', 'run', 'reply')
local live = tonumber(kept[2] or 0) > now
-- A clock may have been set back: what was accepted was so before now.
return {whole(math.max(now, version)), whole(version), unsettled and 1 or 0, redis.call('EXISTS', again),
        kept[1] or '', live and 1 or 0, kept[3] or '', kept[4] or '', kept[5] or '',
        redis.call('HGET', thread, 'rested') or '0'}
"""

SCRIPTS["overtaken"] = """
local version, holder = state()
return {whole(version), (holder and holder ~= token) and 1 or 0}
"""

SCRIPTS["claim"] = """
local seen, arrived, lease, remember = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local fingerprint, keep, window = ARGV[6], ARGV[7], ARGV[8]
local version, holder, unsettled = state()
if (holder and holder ~= token) or version ~= seen or version > arrived then return 0 end
redis.call('HSET', thread, 'version', whole(version), 'holder', token, 'until', whole(now + lease),
           'unsettled', unsettled and '1' or '0')
redis.call('PEXPIRE', thread, remember)
if keep ~= '0' and (redis.call('EXISTS', answer) == 0 or owned()) then
  redis.call('HSET', answer, 'owner', token, 'fingerprint', fingerprint, 'live', whole(now + lease))
  redis.call('PEXPIRE', answer, keep)
end
if window ~= '0' then redis.call('SET', again, token, 'PX', window) end
return 1
"""

SCRIPTS["renew"] = """
local lease = tonumber(ARGV[2])
if owned() and redis.call('HGET', answer, 'live') ~= '0' then
  redis.call('HSET', answer, 'live', whole(now + lease))
end
local held = redis.call('HMGET', thread, 'holder', 'until')
if held[1] ~= token or tonumber(held[2]) <= now then return 0 end
redis.call('HSET', thread, 'until', whole(now + lease))
return 1
"""

SCRIPTS["accepted"] = """
local remember, run = ARGV[2], ARGV[3]
local version, holder = state()
version = math.max(now, version + 1)
if not holder or holder == token then redis.call('HDEL', thread, 'holder', 'until') end
redis.call('HSET', thread, 'version', whole(version), 'unsettled', '1')
redis.call('PEXPIRE', thread, remember)
if owned() then redis.call('HSET', answer, 'accepted', '1', 'run', run) end
return whole(version)
"""

SCRIPTS["known"] = """
if owned() then redis.call('HSET', answer, 'run', ARGV[2]) end
return 1
"""

SCRIPTS["untaken"] = """
if redis.call('HGET', thread, 'holder') == token then redis.call('HDEL', thread, 'holder', 'until') end
if owned() then redis.call('DEL', answer) end
if redis.call('GET', again) == token then redis.call('DEL', again) end
return 1
"""

SCRIPTS["keep"] = """
if owned() then
  redis.call('HSET', answer, 'live', '0', 'accepted', '1')
  if ARGV[2] ~= '' then redis.call('HSET', answer, 'reply', ARGV[2]) end
end
return 1
"""

SCRIPTS["settled"] = """
local version, holder = state()
if version == tonumber(ARGV[2]) then
  if not holder then redis.call('HDEL', thread, 'holder', 'until') end
  redis.call('HSET', thread, 'version', whole(version), 'unsettled', '0', 'rested', whole(now))
end
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
