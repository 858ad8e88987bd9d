-- Certificates by lua: parsed on a miss, and kept parsed by each worker.

local ssl = require "ngx.ssl"
local lrucache = require "resty.lrucache"

local _M = {}
local sets, directory

function _M.init(path, names)
    sets = assert(lrucache.new(names))
    directory = path
end

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

local function load(name)
    local path = directory .. "/" .. name
    local set = {
        certificate = assert(ssl.parse_pem_cert(read(path .. ".cert.pem"))),
        key = assert(ssl.parse_pem_priv_key(read(path .. ".key.pem"))),
    }
    sets:set(name, set)
    return set
end

function _M.serve()
    local name = assert(ssl.server_name())
    local set = sets:get(name) or load(name)
    assert(ssl.clear_certs())
    assert(ssl.set_cert(set.certificate))
    assert(ssl.set_priv_key(set.key))
end

return _M
