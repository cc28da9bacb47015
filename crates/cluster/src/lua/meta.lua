-- What all scripts know of the run of the shared state, in the hash `meta`.

-- How long nothing is given once a generation begins or nobody was heard, so that all report first.
local HOLD_MS = 1000
-- Nodes that are well are heard each second, and somewhat later when they are busy.
local SILENT_MS = 2000

-- Notes that somebody was heard, and begins a generation if the server is not the one, or not as full, as it was. Returns
-- what a node is told, or the schema if that is newer than the one it knows: then nothing is written. A node that
-- `comes_back` may be the first of many that were away.
local function greet(meta, run_id, known_schema, now, comes_back)
  local is = redis.call('HMGET', meta, 'schema', 'run_id', 'gen', 'hold_until', 'heard')
  local schema = tonumber(is[1] or known_schema)
  if schema > tonumber(known_schema) then
    return { 'newer', schema }
  end
  local gen, hold_until, heard = tonumber(is[3] or 0), tonumber(is[4] or 0), tonumber(is[5] or 0)
  if is[2] ~= run_id then
    -- By the clock, so that a server that came back empty does not begin with a number that was there before.
    gen = math.max(gen + 1, now)
    hold_until = now + HOLD_MS
  elseif comes_back and now - heard > SILENT_MS then
    hold_until = math.max(hold_until, now + HOLD_MS)
  end
  -- A clock that was set back is not to hold for hours.
  hold_until = math.min(hold_until, now + HOLD_MS)
  redis.call('HSET', meta, 'schema', known_schema, 'run_id', run_id, 'gen', gen, 'hold_until', hold_until, 'heard', now)
  return { 'ok', now, gen, math.max(0, hold_until - now) }
end

-- Returns the generation (0: there is none) and until when nothing is given, and notes that somebody was heard.
local function run_of(meta, now)
  local is = redis.call('HMGET', meta, 'gen', 'hold_until', 'heard')
  if is[1] and now - tonumber(is[3] or 0) > 200 then
    redis.call('HSET', meta, 'heard', now)
  end
  return tonumber(is[1] or 0), tonumber(is[2] or 0)
end
