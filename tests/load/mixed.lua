-- wrk script: everything that clients send, good and bad, in turn.
--   wrk … -s mixed.lua URL -- IMAGE...
-- SPDX-License-Identifier: MIT

local kinds = {}
local turn = 0

function init(arguments)
    local boundary = "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n"
    local function add(path, headers, body, method)
        table.insert(kinds, { path, headers, body, method or "POST" })
    end
    for _, name in ipairs(arguments) do
        local file = assert(io.open(name, "rb"))
        local bytes = file:read("*a")
        file:close()
        add("/classify", {}, bytes)
        add("/classify?top_k=3", {}, bytes)
        add("/classify?timeout_ms=2", {}, bytes)
        add("/classify", {}, bytes:sub(1, #bytes / 2))
        add("/classify", { ["Content-Type"] = "multipart/form-data; boundary=x" },
            boundary .. bytes .. "\r\n" .. boundary .. "no image\r\n--x--\r\n")
    end
    add("/classify", {}, "no image")
    add("/classify", {}, "")
    add("/classify?nonsense=1", {}, "x")
    add("/classify", { ["Content-Type"] = "application/json" }, '{"image":"////"}')
    add("/classify", { ["Content-Type"] = "application/json" }, '{"images":[')
    add("/nothing", {}, nil, "GET")
    add("/models", {}, nil, "GET")
    add("/classify", { ["Host"] = "not a host" }, "x")
end

function request()
    turn = turn % #kinds + 1
    local kind = kinds[turn]
    return wrk.format(kind[4], kind[1], kind[2], kind[3])
end
