#!/usr/bin/env bash
# Two sidecars with one guard in Redis: of ten clicks that arrive at both of them, the agent receives one.
#
#     pip install 'ap_resume_shim[serve,redis]' uvicorn
#     bash replicas.sh
#
# It needs redis-server and curl 7.84 or later, and stops the processes that it starts.
set -euo pipefail
for port in 6379 2024 8063 8064; do
  if (: </dev/tcp/127.0.0.1/$port) 2>/dev/null; then
    echo "Port $port is in use. Stop the program that listens on it, or change the port in this script." >&2
    exit 1
  fi
done
cd "$(mktemp -d)"
trap 'kill $(jobs -p); wait; rm -r "$PWD"' EXIT

redis-server --port 6379 --save '' &>redis.log &
uvicorn --factory ap_resume_shim.demo:create_app --port 2024 &>server.log &
for port in 8063 8064; do
  ap-resume-shim serve --upstream http://127.0.0.1:2024 --backend agent-protocol --port $port \
    --guard redis://127.0.0.1:6379/0 &>$port.log &
done
for port in 8063 8064; do  # until the sidecar, the server and the store are ready
  curl --silent --output ready --retry 60 --retry-delay 1 --retry-all-errors --fail http://127.0.0.1:$port/-/readyz ||
    { tail -n 5 ./*.log >&2 && exit 1; }
done

for thread in a b; do  # the agent asks its question on both
  curl --silent --output asked http://127.0.0.1:2024/runs/wait \
    --json '{"thread_id": "'$thread'", "if_not_exists": "create"}'
done

echo "ten clicks, half of them at each sidecar:"
for port in 8063 8064 8063 8064 8063 8064 8063 8064 8063 8064; do
  curl --silent --output /dev/null --write-out '%{http_code}\n' -X PATCH http://127.0.0.1:$port/runs/resume/wait \
    --json '{"thread_id": "a", "input": "approve"}' &
done | sort | uniq -c

echo "a retry with the same key gets the first response again, from the other sidecar:"
for port in 8063 8064; do
  curl --silent --output /dev/null --write-out '%{http_code} %header{idempotency-replayed}\n' \
    -X PATCH http://127.0.0.1:$port/runs/resume/wait -H 'Idempotency-Key: "7"' \
    --json '{"thread_id": "b", "input": "approve"}'
done
