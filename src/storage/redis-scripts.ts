/**
 * What Keyhouse does in Redis, in Lua: one script is one atomic step and one round trip. The sums are those of core/gcra.ts;
 * times are milliseconds of Redis's own clock since 2026, so that floats keep a thousandth of a millisecond.
 *
 * `nodes` is the sorted set of the nodes that share these counters now, each until a time that the node itself renews. While
 * one is missing, its share of each limit is left to it: what it gives out alone and what the others give out here are at
 * most the limit, together. `state` belongs to one life of the Redis process: until all nodes have told what they know (see
 * shared-counters.ts), every counter is taken to have been used up when that life began.
 */
import { hash } from 'node:crypto'

export type Script = { readonly text: string; readonly sha: string }

const script = (text: string): Script => ({ text, sha: hash('sha1', text) })

/** KEYS: nodes, state. ARGV: node, how many there should be. */
const common = `
local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000 + time[2] / 1000
local node, count = ARGV[1], tonumber(ARGV[2])

local function text(number) return string.format('%.17g', number) end
local function missing_nodes()
  return math.max(0, count - redis.call('ZCOUNT', KEYS[1], text(now), '+inf'))
end
local function is_member()
  return tonumber(redis.call('ZSCORE', KEYS[1], node) or '0') > now
end
-- What the nodes that are here may give out of a limit: all but the most that the missing ones can have of it
local function here(limit, missing)
  if missing == 0 then return limit end
  return limit - missing * math.floor(limit / count) - math.min(missing, limit % count)
end
local function keep(key, tat)
  redis.call('SET', key, text(tat), 'PX', math.ceil(math.max(tat - now, 0)) + 1000)
end
`

/**
 * Takes a call's costs from all its counters or from none, after the corrections that came along.
 * KEYS more: the counters of the charges, then those of the corrections. ARGV more: slot, milliseconds that slots live,
 * number of charges, then of each limit, period, cost; then of each correction limit, period, delta, slot.
 * Answers now, the index of the charge that refuses (0: none; -1: this node is not a member, and nothing was done), the wait
 * (-1: never), and the level of each charge. Milliseconds are rounded up to whole microseconds.
 */
export const takeScript = script(`${common}
local slot, slot_ms, charges = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local function us(ms) return math.ceil(ms * 1000) end
if not is_member() then return {us(now), -1, 0} end
local missing = missing_nodes()

local at = 6 + charges * 3
for index = charges + 3, #KEYS do
  local key, limit, period, delta = KEYS[index], tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if period == 0 then redis.call('ZREM', key, ARGV[at + 3])
  else
    local tat = tonumber(redis.call('GET', key) or '0')
    keep(key, math.max(math.max(tat, now) + delta * period / limit, now))
  end
  at = at + 4
end

local since = 0
if missing > 0 and redis.call('HGET', KEYS[2], 'complete') == false then
  since = tonumber(redis.call('HGET', KEYS[2], 'since') or '0')
end

local answer, after, refused, longest = {us(now), 0, 0}, {}, 0, 0
local before = {}
for index = 1, charges do
  local key = KEYS[index + 2]
  local limit, period, cost = tonumber(ARGV[3 + index * 3]), tonumber(ARGV[4 + index * 3]), tonumber(ARGV[5 + index * 3])
  local room, wait = here(limit, missing), 0
  if period == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
    before[index] = redis.call('ZCARD', key)
    after[index] = before[index] + cost
    if cost > limit then wait = -1 elseif cost > 0 and after[index] > room then wait = 1000 end
  else
    local tat = tonumber(redis.call('GET', key) or '0')
    if since > 0 then tat = math.max(tat, since + period) end
    before[index] = tat
    after[index] = tat
    if cost > limit then wait = -1
    elseif cost > room then wait = 1000
    elseif cost > 0 then
      after[index] = math.max(tat, now) + cost * period / room
      wait = after[index] - now - period
      if wait <= 0.001 then wait = 0 end
    end
  end
  if wait == -1 or (wait > longest and longest ~= -1) then
    if longest ~= -1 then refused = index end
    longest = wait
  end
end
local levels = after
if refused > 0 then
  levels = before
  answer[2] = refused
  answer[3] = longest == -1 and -1 or us(longest)
end
for index = 1, charges do
  local period, cost = tonumber(ARGV[4 + index * 3]), tonumber(ARGV[5 + index * 3])
  if refused == 0 and cost > 0 then
    if period == 0 then
      redis.call('ZADD', KEYS[index + 2], text(now + slot_ms), slot)
      redis.call('PEXPIRE', KEYS[index + 2], slot_ms * 2)
    else keep(KEYS[index + 2], after[index]) end
  end
  answer[3 + index] = period == 0 and levels[index] or us(levels[index])
end
return answer`)

/**
 * Tells Redis what this node knows, before it joins. KEYS more: counters. ARGV more: of each counter limit, period, share,
 * known, given, amount: how long until it is full again by what was seen of it here, and by what the node gave out alone of its
 * share, which began empty; and how much that was.
 *
 * What the node gave out is at most what its share was used more than the rest, and at most that amount on top of what Redis
 * counts: what the share had been used before, Redis has counted for all. The latter only where Redis forgot nothing meanwhile.
 */
export const tellScript = script(`${common}
local missing = math.max(0, missing_nodes() - (is_member() and 0 or 1))
local forgot_nothing = redis.call('HGET', KEYS[2], 'complete') == '1'
for index = 3, #KEYS do
  local at = 3 + (index - 3) * 6
  local limit, period, share = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local known, given, amount = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local tat = math.max(tonumber(redis.call('GET', KEYS[index]) or '0'), now, now + known)
  local ahead = given - (tat - now)
  local room = here(limit, missing)
  if ahead > 0 and share > 0 and room > 0 then
    local more = ahead * share / room
    if forgot_nothing then more = math.min(more, amount * period / room) end
    tat = tat + more
  end
  if tat > now then keep(KEYS[index], tat) end
end
return 1`)

/**
 * Joins, or stays. ARGV more: until when, by Redis's clock as this node knows it; whether it joins; milliseconds that slots live;
 * then of each slot the node holds its index among the KEYS and its name. KEYS more: the counters of those slots.
 * Answers now, and whether this node is a member: 0 when it was late and others have counted without it.
 */
export const stayScript = script(`${common}
local till, joins, slot_ms = tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5])
local function us(ms) return math.ceil(ms * 1000) end
if till <= now or not (joins or is_member()) then return {us(now), 0} end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
redis.call('ZADD', KEYS[1], text(till), node)
redis.call('HSETNX', KEYS[2], 'since', text(now))
if missing_nodes() == 0 then redis.call('HSET', KEYS[2], 'complete', '1') end
redis.call('PEXPIRE', KEYS[1], 172800000)
redis.call('PEXPIRE', KEYS[2], 172800000)
for at = 6, #ARGV, 2 do
  local key = KEYS[tonumber(ARGV[at])]
  redis.call('ZADD', key, text(now + slot_ms), ARGV[at + 1])
  redis.call('PEXPIRE', key, slot_ms * 2)
end
return {us(now), 1}`)
