-- wrk script: posts images as raw bodies to /classify, in turn.
--   wrk … -s post.lua URL -- IMAGE...
-- Files are read once, before the clock starts. Answers other than 200 are counted by status.
-- SPDX-License-Identifier: MIT

local bodies = {}
local statuses = {}
local turn = 0
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(arguments)
    for _, name in ipairs(arguments) do
        local file = assert(io.open(name, "rb"))
        table.insert(bodies, file:read("*a"))
        file:close()
    end
    assert(#bodies > 0, "no images given")
    by_status = ""
end

function request()
    turn = turn + 1
    -- A number behind the image: the same file in flight would be computed once.
    return wrk.format("POST", "/classify", { ["Content-Type"] = "image/jpeg" },
        bodies[turn % #bodies + 1] .. turn)
end

-- A global is all that wrk lets the main thread read from this one.
function response(status)
    statuses[status] = (statuses[status] or 0) + 1
    by_status = ""
    for code, count in pairs(statuses) do
        by_status = by_status .. string.format(" %d×%d", code, count)
    end
end

function done(summary, latency)
    local seconds = summary.duration / 1e6
    print(string.format("throughput   %.1f requests/s (%d in %.1f s)", summary.requests / seconds,
        summary.requests, seconds))
    print(string.format("latency ms   p50 %.1f  p90 %.1f  p99 %.1f  max %.1f",
        latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
        latency.max / 1e3))
    for _, thread in ipairs(threads) do
        print("answers     " .. thread:get("by_status"))
    end
    local errors = summary.errors
    print(string.format("errors       connect %d  read %d  write %d  timeout %d", errors.connect,
        errors.read, errors.write, errors.timeout))
end
