-- What the scripts of this folder share. They are for DPDK's pktgen (22.07 and newer), run by `-f SCRIPT.lua`; the same for network cards and for
-- memif. docs/performance.md has the command lines. Settings come from the environment, so that the scripts need no change.

local common = {}

-- The ports: where packets go, and where they come back; the same one where a device under test returns them.
common.send = os.getenv("WARREN_SEND") or "0"
common.receive = os.getenv("WARREN_RECEIVE") or "1"
-- Seconds of a trial; RFC 2544 asks for 60.
common.seconds = tonumber(os.getenv("WARREN_SECONDS") or "10")
-- Percent of the packets that count as no loss.
common.loss = tonumber(os.getenv("WARREN_LOSS") or "0")

-- A port's counters so far.
local function counted(port)
    return pktgen.portStats(port, "port")[tonumber(port)]
end

-- Sends at a percentage of the line's rate for the time of a trial; packets sent, received, and lost in percent.
function common.trial(percent)
    pktgen.clr()
    pktgen.set(common.send, "count", 0)
    pktgen.set(common.send, "rate", percent)
    pktgen.delay(500)
    local received, sent = counted(common.receive).ipackets, counted(common.send).opackets
    pktgen.start(common.send)
    pktgen.delay(common.seconds * 1000)
    pktgen.stop(common.send)
    -- What is on its way still.
    pktgen.delay(1000)
    received, sent = counted(common.receive).ipackets - received, counted(common.send).opackets - sent
    local lost = sent > 0 and math.max(0, sent - received) * 100 / sent or 100
    return sent, received, lost
end

-- The highest percentage of the line's rate at which no more is lost than common.loss, by halving (RFC 2544, section 26.1), within half a percent; and the
-- packets a second that came back. Nothing where every rate lost some.
function common.search()
    local low, high, rate = 0, 100, nil
    local percent = 100
    while high - low > 0.5 do
        local sent, received, lost = common.trial(percent)
        printf("%7.2f %% of the line: %d sent, %d received, %.5f %% lost\n", percent, sent, received, lost)
        if sent > 0 and lost <= common.loss then
            low, rate = percent, received / common.seconds
            if percent == 100 then break end
        else
            high = percent
        end
        percent = (low + high) / 2
    end
    if rate then return low, rate end
end

-- The value that a share of the sorted values is not above.
local function percentile(sorted, share)
    return sorted[math.max(1, math.ceil(#sorted * share))]
end

-- Median, p99 and p99.9 of the time that pktgen's probes take while packets are sent at a percentage, in microseconds. The sampler writes a line of
-- nanoseconds for each. Probes need frames of 96 bytes, and come back recognisable only without a tunnel around them.
function common.latency(percent)
    local name = os.tmpname()
    for _, port in ipairs({ common.send, common.receive }) do
        pktgen.latency(port, "enable")
        pktgen.latency(port, "rate", 100)
        pktgen.latency(port, "entropy", 16)
    end
    pktgen.latsampler_params(common.receive, "simple", 100000, 100000, name)
    pktgen.set(common.send, "rate", percent)
    pktgen.delay(500)
    pktgen.latsampler(common.receive, "start")
    pktgen.start(common.send)
    pktgen.delay(common.seconds * 1000)
    pktgen.stop(common.send)
    pktgen.latsampler(common.receive, "stop")
    pktgen.delay(1000)
    for _, port in ipairs({ common.send, common.receive }) do pktgen.latency(port, "disable") end
    local samples = {}
    for line in io.lines(name) do samples[#samples + 1] = tonumber(line) end
    os.remove(name)
    table.sort(samples)
    if #samples == 0 then return nil end
    return percentile(samples, 0.5) / 1000, percentile(samples, 0.99) / 1000, percentile(samples, 0.999) / 1000
end

-- A line of JSON to the file that WARREN_RESULTS names, and to the screen.
function common.report(line)
    print(line)
    local name = os.getenv("WARREN_RESULTS")
    if name then
        local file = assert(io.open(name, "a"))
        file:write(line, "\n")
        file:close()
    end
end

return common
