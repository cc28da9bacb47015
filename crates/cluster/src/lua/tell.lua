-- KEYS: rec, facts. ARGV: the last fact the teller has applied; then subject, rank (20 digits), origin and body of each.
-- Answers with the fact's id where it was written, else with what holds.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local seen_ms, seen_seq = parts(ARGV[1])
local function is_unseen(id)
  local ms, seq = parts(id)
  return ms > seen_ms or (ms == seen_ms and seq > seen_seq)
end

local answers = {}
for at = 2, #ARGV, 4 do
  local subject, rank, origin, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local held = redis.call('HGET', KEYS[1], subject)
  local overruled = false
  if held then
    local id, held_rank, held_origin = string.match(held, '^(%d+-%d+) (%d+) (%S+) ')
    -- What a teller said itself it knows of, though it may not have read it yet.
    overruled = id and held_origin ~= origin and held_rank >= rank and is_unseen(id)
  end
  if overruled then
    answers[#answers + 1] = held
  else
    local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 's', subject, 'r', rank, 'o', origin, 'b', body)
    redis.call('HSET', KEYS[1], subject, id .. ' ' .. rank .. ' ' .. origin .. ' ' .. body)
    answers[#answers + 1] = id
  end
end
return answers
