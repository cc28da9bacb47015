-- What one project may still use of one model: a hash. All times are milliseconds of the server's clock; a second counts
-- until a whole minute after its end, so 61 of them are kept.
--
--   g        the generation it was counted in
--   l        the last second seen; u, ut: requests and tokens of the window up to it
--   s<sec>   "requests tokens" of a second
--   n:<node> "requests tokens deadline" that a node holds; hr, ht: their sums; hn: their number; hd: no deadline is earlier
--   d        requests of the day, since ds until de; dk: what this generation's nodes have said of them
--   c        closed until then, by a refusal
--   R, T, D  the limits of the last draw

local SPAN = 61            -- seconds
local GUARD = 500          -- Google counts a request when it arrives
local LONGEST_SLICE = 10000
local KEPT = 90000         -- after the last touch
local SOON = 1000          -- what another holds may be back by then

local function pair(text)
  local requests, tokens = string.match(text, '^(%-?%d+) (%-?%d+)')
  return tonumber(requests), tonumber(tokens)
end

local function load_bucket(key, node)
  local is = redis.call('HMGET', key, 'g', 'l', 'u', 'ut', 'hr', 'ht', 'hn', 'hd', 'd', 'dk', 'de', 'ds', 'c', 'R', 'T', 'D', 'n:' .. node)
  local function number(at) return tonumber(is[at] or 0) end
  return {
    key = key,
    g = number(1), l = number(2), u = number(3), ut = number(4),
    hr = number(5), ht = number(6), hn = number(7), hd = number(8),
    d = number(9), dk = number(10), de = number(11), ds = number(12), c = number(13),
    R = tonumber(is[14] or -1), T = tonumber(is[15] or -1), D = tonumber(is[16] or -1),
    mine = is[17], booked = {},
  }
end

-- Forgets what was counted in another generation; the day's count and a refusal are kept.
local function renew(b, generation)
  if b.g == generation then return end
  redis.call('DEL', b.key)
  b.g, b.l, b.u, b.ut, b.hr, b.ht, b.hn, b.hd, b.dk, b.mine = generation, 0, 0, 0, 0, 0, 0, 0, 0, false
end

-- Puts use down, to be written at the end. What is older than the window is not counted.
local function book(b, at, requests, tokens)
  local second = math.min(math.floor(at / 1000), b.l + 1)
  if second <= b.l - SPAN then return end
  local is = b.booked[second] or { 0, 0 }
  b.booked[second] = { is[1] + requests, is[2] + tokens }
  b.u, b.ut = b.u + requests, b.ut + tokens
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
  b.l, b.hd = second, math.min(b.hd, now)
  b.booked[second] = { b.u, b.ut }
end

-- Lets the window move on to now.
local function move_on(b, now)
  local second = math.floor(now / 1000)
  if b.l == 0 then b.l = second end
  if second < b.l then return set_back(b, now, second) end
  local gone = {}
  for s = b.l - SPAN + 1, math.min(second - SPAN, b.l + 1) do gone[#gone + 1] = 's' .. s end
  b.l = second
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
      if deadline <= now then
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
    b.de = math.min(day_end, now + 90000000)
    if b.ds == 0 then b.ds = b.de - 86400000 end
  end
end

-- Takes this node's slice out of the sums; returns what it is believed to hold.
local function take_out(b)
  if not b.mine then return 0, 0 end
  local requests, tokens = pair(b.mine)
  b.hr, b.ht, b.hn = b.hr - requests, b.ht - tokens, b.hn - 1
  return requests, tokens
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

-- Returns the moment at which enough seconds have left the window for there to be room; now if there is.
local function leaving(b, now)
  local requests, tokens = b.u, b.ut
  local function has_room() return rest(b.R, requests, b.hr) ~= 0 and rest(b.T, tokens, b.ht) ~= 0 end
  if has_room() then return now end
  local names = {}
  for s = b.l - SPAN + 1, b.l + 1 do names[#names + 1] = 's' .. s end
  for place, is in ipairs(redis.call('HMGET', b.key, unpack(names))) do
    if is then
      local r, t = pair(is)
      requests, tokens = requests - r, tokens - t
      if has_room() then return (b.l + place) * 1000 end
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
  local set = { 'g', b.g, 'l', b.l, 'u', b.u, 'ut', b.ut, 'hr', b.hr, 'ht', b.ht, 'hn', b.hn, 'hd', b.hd,
    'd', b.d, 'dk', b.dk, 'de', b.de, 'ds', b.ds, 'c', b.c, 'R', b.R, 'T', b.T, 'D', b.D }
  if #names > 0 then
    for place, is in ipairs(redis.call('HMGET', b.key, unpack(names))) do
      local second = tonumber(string.sub(names[place], 2))
      local requests, tokens = 0, 0
      if is then requests, tokens = pair(is) end
      set[#set + 1] = names[place]
      set[#set + 1] = (requests + b.booked[second][1]) .. ' ' .. (tokens + b.booked[second][2])
    end
  end
  redis.call('HSET', b.key, unpack(set))
  b.booked = {}
  redis.call('PEXPIRE', b.key, math.max(KEPT, b.de - now, b.c - now))
end

-- Keeps the index of what has room in step.
local function index(open, owner, at)
  redis.call('ZADD', open, at, owner)
  redis.call('PEXPIRE', open, KEPT)
end

-- Books, and gives what can be given. `ask` has node, owner, have_r, have_t (nil: as believed), want_r, want_t, ttl, day_end,
-- day_used (-1: not said), and reports from..to in ARGV as age, requests, tokens.
local function draw(b, open, now, generation, hold_until, ask)
  renew(b, generation)
  move_on(b, now)
  local believed_r, believed_t = take_out(b)
  if b.mine then redis.call('HDEL', b.key, 'n:' .. ask.node) end
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
  local have_r, have_t = ask.have_r or believed_r, ask.have_t or believed_t
  if b.T < 0 then have_t = 0 end

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
    redis.call('HSET', b.key, 'n:' .. ask.node, own_r .. ' ' .. own_t .. ' ' .. string.format('%.0f', deadline))
    b.hr, b.ht, b.hn = b.hr + own_r, b.ht + own_t, b.hn + 1
    if b.hd == 0 or deadline < b.hd then b.hd = deadline end
  end
  store(b, now)

  left_r, left_t = left_r and left_r - give_r, left_t and left_t - give_t
  local at = 0
  if left_r == 0 or left_t == 0 then at = opening(b, now, own_r, own_t) end
  if b.c > now then at = math.max(at, b.c) end
  if hold_until > now then at = math.max(at, hold_until) end
  index(open, ask.owner, at)
  return { give_r, give_t, left_r or -1, left_t or -1, left_d and left_d - give_r or -1, math.max(0, at - now),
    math.max(0, b.c - now), b.R, b.T, b.D }
end
