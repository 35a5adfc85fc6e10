-- A SYN flood from a range of ports, for pktgen without a capture, at full rate: what of it comes through.

package.path = (os.getenv("WARREN_PKTGEN") or "bench/pktgen") .. "/?.lua;?.lua;" .. package.path
require("Pktgen")
local common = require("common")

pktgen.range.ip_proto(common.send, "tcp")
for name, ports in pairs({ src_port = { 1024, 1, 65535 }, dst_port = { 443, 0, 443 } }) do
    pktgen.range[name](common.send, "start", ports[1])
    pktgen.range[name](common.send, "inc", ports[2])
    pktgen.range[name](common.send, "min", ports[1])
    pktgen.range[name](common.send, "max", ports[3])
end
pktgen.set_range(common.send, "enable")
local sent, received, lost = common.trial(100)
pktgen.set_range(common.send, "disable")
common.report(string.format('{"what":"flood","traffic":"syn","sent":%d,"received":%d,"lost_percent":%.4f}', sent, received, lost))
pktgen.quit()
