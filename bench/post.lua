-- Posts the signed notifications of a file, one after the other, as SNS does.
local requests, n = {}, 0
local headers = { ["Content-Type"] = "text/plain; charset=UTF-8" }

function init(args)
  local first, last = tonumber(args[2]), tonumber(args[3])
  local at = 0
  for line in io.lines(args[1]) do
    at = at + 1
    if at > last then break end
    if at > first then requests[#requests + 1] = wrk.format("POST", "/api/ses/events", headers, line) end
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end

function done(summary, latency)
  io.write(string.format(
    '{"requests": %d, "seconds": %.3f, "errors": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
