-- What one project may still use of one model: a hash. All times are milliseconds of the server's clock; a second counts
-- until a whole minute after its end, so 61 of them are kept. Few fields, since each is looked for one by one:
--
--   a        g l hd c: the generation it was counted in; the last second seen; no slice ends earlier; closed until then
--   b        u ut hr ht hn f: requests and tokens of the window up to `l`, and of all slices; the number of slices; nothing
--            was used in an earlier second of the window
--   d        d dk de ds: requests of the day that lasts from ds until de; what this generation's nodes have said of them
--   r        R T D: the limits of the last draw, a minute and a day (-1: none)
--   s<sec>   "requests tokens" of a second
--   n:<node> "requests tokens deadline" of a node's slice

local SPAN = 61            -- seconds
local GUARD = 500          -- Google counts a request when it arrives
local LONGEST_SLICE = 10000
local KEPT = 90000         -- after the last touch
local SOON = 1000          -- what another holds may be back by then

local function pair(text)
  local requests, tokens = string.match(text, '^(%-?%d+) (%-?%d+)')
  return tonumber(requests), tonumber(tokens)
end

-- Reads the numbers of a field; those that are missing are as in `none`.
local function numbers(text, none)
  if not text then return none, none, none, none, none, none end
  local a, b, c, d, e, f = string.match(text, '^(%S+) (%S+) (%S+) ?(%S*) ?(%S*) ?(%S*)')
  return tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e), tonumber(f)
end

local function load_bucket(key, node)
  local is = redis.call('HMGET', key, 'a', 'b', 'd', 'r', 'n:' .. node)
  local b = { key = key, node = node, mine = is[5], booked = {} }
  b.g, b.l, b.hd, b.c = numbers(is[1], 0)
  b.u, b.ut, b.hr, b.ht, b.hn, b.f = numbers(is[2], 0)
  b.d, b.dk, b.de, b.ds = numbers(is[3], 0)
  b.R, b.T, b.D = numbers(is[4], -1)
  return b
end

-- Forgets what was counted in another generation; the day's count and a refusal are kept.
local function renew(b, generation)
  if b.g == generation then return end
  redis.call('DEL', b.key)
  b.g, b.l, b.u, b.ut, b.hr, b.ht, b.hn, b.hd, b.dk, b.f, b.mine = generation, 0, 0, 0, 0, 0, 0, 0, 0, 0, false
end

-- Puts use down, to be written at the end. What is older than the window is not counted.
local function book(b, at, requests, tokens)
  local second = math.min(math.floor(at / 1000), b.l + 1)
  if second <= b.l - SPAN then return end
  local is = b.booked[second] or { 0, 0 }
  b.booked[second] = { is[1] + requests, is[2] + tokens }
  b.u, b.ut = b.u + requests, b.ut + tokens
  if b.f == 0 or second < b.f then b.f = second end
end

-- The server's clock was set back: all that is counted counts as of now, and no slice lasts longer than one can.
local function set_back(b, now, second)
  local fields = redis.call('HGETALL', b.key)
  for at = 1, #fields, 2 do
    local name, value = fields[at], fields[at + 1]
    if string.match(name, '^s%d+$') then
      redis.call('HDEL', b.key, name)
    elseif string.sub(name, 1, 2) == 'n:' then
      local requests, tokens = pair(value)
      local deadline = math.min(tonumber(string.match(value, '(%d+)$')), now + LONGEST_SLICE)
      redis.call('HSET', b.key, name, requests .. ' ' .. tokens .. ' ' .. string.format('%.0f', deadline))
    end
  end
  b.l, b.hd, b.f = second, math.min(b.hd, now), second
  b.booked[second] = { b.u, b.ut }
end

-- Lets the window move on to now.
local function move_on(b, now)
  local second = math.floor(now / 1000)
  b.has_moved = second ~= b.l
  if b.l == 0 then b.l = second end
  if second < b.l then return set_back(b, now, second) end
  local gone = {}
  for s = b.l - SPAN + 1, math.min(second - SPAN, b.l + 1) do gone[#gone + 1] = 's' .. s end
  b.l = second
  if b.f > 0 then b.f = math.max(b.f, second - SPAN + 1) end
  if #gone == 0 then return end
  local found = false
  for _, is in ipairs(redis.call('HMGET', b.key, unpack(gone))) do
    if is then
      local requests, tokens = pair(is)
      b.u, b.ut, found = b.u - requests, b.ut - tokens, true
    end
  end
  if found then redis.call('HDEL', b.key, unpack(gone)) end
end

-- What a node held that did not renew it may all have been spent, as of its deadline. Of the day only reports count.
local function end_slices(b, now)
  if b.hd == 0 or b.hd > now then return end
  local fields = redis.call('HGETALL', b.key)
  b.hd = 0
  for at = 1, #fields, 2 do
    if string.sub(fields[at], 1, 2) == 'n:' then
      local requests, tokens = pair(fields[at + 1])
      local deadline = tonumber(string.match(fields[at + 1], '(%d+)$'))
      if fields[at] == 'n:' .. b.node then
        -- It is what this draw replaces.
      elseif deadline <= now then
        redis.call('HDEL', b.key, fields[at])
        b.hr, b.ht, b.hn = b.hr - requests, b.ht - tokens, b.hn - 1
        book(b, deadline + GUARD, requests, tokens)
      elseif b.hd == 0 or deadline < b.hd then
        b.hd = deadline
      end
    end
  end
end

-- Lets the day end, and notes when the one that begins will.
local function turn_day(b, now, day_end)
  if b.de > 0 and now >= b.de then
    b.d, b.dk, b.ds, b.de = 0, 0, b.de, 0
  end
  if b.de == 0 and day_end > now then
    b.has_moved = true
    b.de = math.min(day_end, now + 90000000)
    if b.ds == 0 then b.ds = b.de - 86400000 end
  end
end

-- Takes this node's slice out of the sums.
local function take_out(b)
  if not b.mine then return end
  local requests, tokens = pair(b.mine)
  b.hr, b.ht, b.hn = b.hr - requests, b.ht - tokens, b.hn - 1
end

-- Returns what is left of a limit, nil if there is none.
-- More may have been taken back than is still in the window: that makes no more room than there is.
local function rest(limit, used, held)
  if limit < 0 then return nil end
  return math.max(0, limit - math.max(0, used) - held)
end

-- Returns how much of what is left one node may have: half of it if others hold slices too.
local function part(want, left, shared)
  if not left then return want end
  if shared and left > 0 then left = math.max(1, math.floor(left / 2)) end
  return math.min(want, left)
end

local function sums(b)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f', b.u, b.ut, b.hr, b.ht, b.hn, b.f)
end

-- Returns the moment at which enough seconds have left the window for there to be room; now if there is.
local function leaving(b, now)
  local requests, tokens = b.u, b.ut
  local function has_room() return rest(b.R, requests, b.hr) ~= 0 and rest(b.T, tokens, b.ht) ~= 0 end
  if has_room() then return now end
  if b.f == 0 then return now + SOON end
  local found = false
  for first = b.f, b.l + 1, 8 do
    local names = {}
    for s = first, math.min(first + 7, b.l + 1) do names[#names + 1] = 's' .. s end
    for place, is in ipairs(redis.call('HMGET', b.key, unpack(names))) do
      if is then
        if not found then
          found = true
          -- The next one need not look where nothing is.
          if place > 1 or first > b.f then
            b.f = first + place - 1
            redis.call('HSET', b.key, 'b', sums(b))
          end
        end
        local r, t = pair(is)
        requests, tokens = requests - r, tokens - t
        if has_room() then return (first + place - 1 + SPAN) * 1000 end
      end
    end
  end
  return now + SOON
end

-- Returns the moment at which there may be room again: what others hold may come back sooner than it would be spent.
local function opening(b, now, own_requests, own_tokens)
  local others = b.hr > own_requests or b.ht > own_tokens
  local at = leaving(b, now)
  if others then at = math.min(at, now + SOON) end
  if b.D >= 0 and b.d + b.hr >= b.D then
    at = math.max(at, (others or b.de == 0) and now + SOON or b.de)
  end
  return math.max(at, now + 20)
end

local function store(b, now)
  local names = {}
  for second in pairs(b.booked) do names[#names + 1] = 's' .. second end
  local set = {
    'a', string.format('%.0f %.0f %.0f %.0f', b.g, b.l, b.hd, b.c),
    'b', sums(b),
    'd', string.format('%.0f %.0f %.0f %.0f', b.d, b.dk, b.de, b.ds),
    'r', string.format('%.0f %.0f %.0f', b.R, b.T, b.D),
  }
  if #names > 0 then
    for place, is in ipairs(redis.call('HMGET', b.key, unpack(names))) do
      local second = tonumber(string.sub(names[place], 2))
      local requests, tokens = 0, 0
      if is then requests, tokens = pair(is) end
      set[#set + 1] = names[place]
      set[#set + 1] = (requests + b.booked[second][1]) .. ' ' .. (tokens + b.booked[second][2])
    end
  end
  if b.slice then
    set[#set + 1] = b.slice[1]
    set[#set + 1] = b.slice[2]
  end
  redis.call('HSET', b.key, unpack(set))
  -- Within one second nothing that ends it has changed.
  if b.has_moved then redis.call('PEXPIRE', b.key, math.max(KEPT, b.de - now, b.c - now)) end
end

-- Books, and gives what can be given. `ask` has node, have_r, have_t, want_r, want_t, ttl, day_end,
-- day_used (-1: not said), and reports from..to in ARGV as age, requests, tokens.
local function draw(b, now, generation, hold_until, ask)
  renew(b, generation)
  move_on(b, now)
  take_out(b)
  end_slices(b, now)
  turn_day(b, now, ask.day_end)
  for at = ask.from, ask.to, 3 do
    local age, requests, tokens = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    book(b, now - age + GUARD, requests, tokens)
    if ask.day_used < 0 and now - age >= b.ds then
      b.d, b.dk = b.d + requests, b.dk + requests
    end
  end
  if ask.day_used >= 0 then b.dk = b.dk + ask.day_used end
  b.d = math.max(0, b.d, b.dk)
  local have_r, have_t = ask.have_r, b.T < 0 and 0 or ask.have_t

  local left_r, left_t = rest(b.R, b.u, b.hr + have_r), rest(b.T, b.ut, b.ht + have_t)
  local left_d = rest(b.D, b.d, b.hr + have_r)
  if left_d then left_r = math.min(left_r or left_d, left_d) end
  local give_r, give_t = 0, 0
  if generation > 0 and now >= b.c and now >= hold_until then
    give_r, give_t = part(ask.want_r, left_r, b.hn > 0), part(ask.want_t, left_t, b.hn > 0)
    if left_t and give_r > 0 and give_r < ask.want_r then
      give_t = math.min(give_t, math.ceil(ask.want_t * give_r / ask.want_r))
    end
    -- Neither is of use without the other.
    if left_t and ask.want_t > 0 and have_t + give_t == 0 then give_r = 0 end
    if have_r + give_r == 0 then give_t = 0 end
  end
  local own_r, own_t = have_r + give_r, b.T < 0 and 0 or have_t + give_t
  if own_r > 0 or own_t > 0 then
    local deadline = now + math.min(ask.ttl, LONGEST_SLICE)
    b.slice = { 'n:' .. ask.node, own_r .. ' ' .. own_t .. ' ' .. string.format('%.0f', deadline) }
    b.hr, b.ht, b.hn = b.hr + own_r, b.ht + own_t, b.hn + 1
    if b.hd == 0 or deadline < b.hd then b.hd = deadline end
  elseif b.mine then
    redis.call('HDEL', b.key, 'n:' .. ask.node)
  end
  left_r, left_t = left_r and left_r - give_r, left_t and left_t - give_t
  store(b, now)

  local at = 0
  if left_r == 0 or left_t == 0 then at = opening(b, now, own_r, own_t) end
  if b.c > now then at = math.max(at, b.c) end
  if hold_until > now then at = math.max(at, hold_until) end
  return { give_r, give_t, left_r or -1, left_t or -1, left_d and left_d - give_r or -1, math.max(0, at - now),
    math.max(0, b.c - now), b.R, b.T, b.D }
end
