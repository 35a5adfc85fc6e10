-- The highest rate without loss of what the port sends: a capture, where pktgen was started with -s PORT:FILE (captures.py makes all of them); without one, UDP
-- packets of one size. Then the latency at 50 and 90 percent of it. The line of JSON is one that bench/report/report.py reads.
--   WARREN_TRAFFIC    its name; a number: the size of the frames without FCS
--   WARREN_CAPTURE=1  there is a capture

package.path = (os.getenv("WARREN_PKTGEN") or "bench/pktgen") .. "/?.lua;?.lua;" .. package.path
require("Pktgen")
local common = require("common")
local traffic = os.getenv("WARREN_TRAFFIC") or "64"

if not os.getenv("WARREN_CAPTURE") then
    -- Here the size has the FCS.
    pktgen.set(common.send, "size", tonumber(traffic) + 4)
end

local percent, rate = common.search()
local steps = {}
for _, share in ipairs(percent and { 50, 90 } or {}) do
    local half, p99, p999 = common.latency(percent * share / 100)
    if half then
        steps[#steps + 1] = string.format('{"percent":%d,"p50_us":%.2f,"p99_us":%.2f,"p999_us":%.2f}', share, half, p99, p999)
    end
end
common.report(string.format(
    '{"what":"search","through":"pktgen","traffic":"%s","mpps":%.3f,"line_percent":%.2f,"latency":[%s]}',
    traffic, (rate or 0) / 1e6, percent or 0, table.concat(steps, ",")
))
pktgen.quit()
