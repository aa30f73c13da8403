-- wrk's script: repeats one POST and prints one line of JSON at the end.
-- Arguments: a file with the body, its content type.

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method, wrk.body = "POST", file:read("*a")
   file:close()
   wrk.headers["Content-Type"] = arguments[2]
end

function done(summary, latency)
   local errors = summary.errors
   local counts = '{"calls": %d, "seconds": %.3f, "bytes": %d, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f, '
   local failures = '"failed": {"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}}\n'
   local p50, p95, p99 = latency:percentile(50), latency:percentile(95), latency:percentile(99)
   io.write(counts:format(summary.requests, summary.duration / 1e6, summary.bytes, p50 / 1e3, p95 / 1e3, p99 / 1e3))
   io.write(failures:format(errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
