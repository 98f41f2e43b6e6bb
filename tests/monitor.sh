#!/bin/bash
# The service of docker/compose.yaml without containers, in a network of its own: two resnetd, found
# by name through a name server at Docker's address, HAProxy and Prometheus with the files that they
# are given there. Uploads go through HAProxy; every query of the dashboard and every alert's is put
# to Prometheus and has to be understood and, where it must have one, to have a result.
#   tests/monitor.sh BINARY
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
photo=tests/golden/images/baseline-420.jpg

for tool in haproxy prometheus promtool dnsmasq jq ip curl; do
    command -v $tool >/dev/null || {
        echo "monitor: $tool is missing; run tests/deps.sh ci" >&2
        exit 1
    }
done
if [[ -z ${INSIDE:-} ]]; then
    if ! unshare --mount --net true 2>/dev/null; then
        echo "monitor: NOT TESTED, this machine does not let us have namespaces"
        exit 0
    fi
    INSIDE=yes exec unshare --mount --net --pid --fork --kill-child=KILL --mount-proc "$0" "$binary"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT # the processes end with this one, which is process 1 of its namespace
fail() {
    echo "monitor: $*" >&2
    tail -n 5 "$work"/*.log >&2
    exit 1
}
wait_for() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $end ]] || fail "in vain: $*"
        sleep 0.1
    done
}

promtool check rules docker/alerts.yaml >/dev/null
promtool check config docker/prometheus.yaml >/dev/null
haproxy -q -c -f docker/haproxy.cfg

ip link set lo up
echo 'nameserver 127.0.0.11' >"$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf
dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --listen-address=127.0.0.11 \
    --bind-interfaces --host-record=resnetd,127.0.1.1 --host-record=resnetd,127.0.1.2 \
    --host-record=haproxy,127.0.1.3 --user=root 2>"$work/dnsmasq.log" &
for i in 1 2; do
    "$binary" serve --listen "127.0.1.$i:8080" --agent-listen "127.0.1.$i:8081" --cache-bytes 1M \
        --threads 1 --drain-delay-ms 2500 2>"$work/resnetd$i.log" &
    daemons[i]=$!
done
haproxy -f docker/haproxy.cfg >"$work/haproxy.log" 2>&1 &
sed 's/: 5s/: 1s/' docker/prometheus.yaml >"$work/prometheus.yml"
cp docker/alerts.yaml "$work"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --log.level=warn \
    --web.listen-address=127.0.0.1:9090 >"$work/prometheus.log" 2>&1 &

# ---- uploads through HAProxy -------------------------------------------------------------------

url=http://127.0.0.1:8000
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
# How many servers HAProxy holds to be up.
n_up() { curl -s http://127.0.0.1:8404/metrics | grep -c '^haproxy_server_status{.*state="UP"} 1'; }
are_up() { [[ $(n_up) == "$1" ]]; }
wait_for 10 are_up 2
for i in {1..40}; do
    [[ $(code -T $photo "$url/classify?top_k=$((i % 9 + 1))") == 200 ]] || fail "an upload has failed"
done
[[ $(code -T README.md $url/classify) == 415 ]] || fail "a text is not refused"
for i in 1 2; do
    n=$(curl -s "http://127.0.1.$i:8080/metrics" | awk '/^resnetd_images_total{outcome="ok"/ { print $2 }')
    [[ ${n:-0} -ge 10 ]] || fail "server $i has had ${n:-0} of 40 uploads"
done
for path in /metrics /debug/requests; do
    [[ $(code $url$path) == 404 ]] || fail "$path is there for everybody"
done
[[ $(code -X DELETE $url/models/cifar10-resnet20) == 403 ]] || fail "everybody may remove models"

# What a server may have at once comes from its agent alone.
limits=$(curl -s http://127.0.0.1:8404/metrics |
    grep -cE '^haproxy_server_limit_sessions\{.*"resnetd[0-9]+"\} [1-9]') || true
[[ $limits == 2 ]] || fail "HAProxy has heard of $limits agents instead of 2"

# ---- what Prometheus makes of it ---------------------------------------------------------------

query() { curl -s --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query; }
# A rate needs something to go on.
while sleep 0.1; do code -T $photo "$url/classify?top_k=$((SECONDS % 9 + 1))"; done >/dev/null &
n_results() { query "$1" | jq -e '.data.result | length'; }
has_results() { [[ $(n_results "$1") -ge 1 ]]; }
wait_for 15 has_results 'rate(resnetd_images_total{outcome="ok"}[5m]) > 0'
wait_for 15 has_results 'up{job="haproxy"} == 1'

# These have a result only when what they show has happened.
may_be_empty='rejected|expired|coalesced|result="failed"|prediction_margin|> 0$'
n=0
while IFS= read -r expression; do
    asked=${expression//\$__rate_interval/1m}
    asked=${asked//\$instance/.*}
    answer=$(query "$asked")
    [[ $(jq -r .status <<<"$answer") == success ]] || fail "not understood: $asked: $answer"
    [[ $(jq '.data.result | length' <<<"$answer") -ge 1 || $asked =~ $may_be_empty ]] ||
        fail "no result: $asked"
    n=$((n + 1))
done < <(jq -r '.panels[].targets[]?.expr, .annotations.list[].expr' docker/grafana/resnetd.json)
rules=$(curl -s http://127.0.0.1:9090/api/v1/rules | jq '[.data.groups[].rules[]]')
[[ $(jq 'map(select(.health != "ok")) | length' <<<"$rules") == 0 ]] || fail "rules are ill: $rules"
firing=$(jq -r '.[] | select(.state != "inactive") | .name' <<<"$rules")
[[ -z $firing ]] || fail "alerts of a healthy service: $firing"
echo "monitor: $n queries of the dashboard and $(jq length <<<"$rules") alerts asked of Prometheus"

# ---- one leaves, one dies ----------------------------------------------------------------------

for i in {1..120}; do
    code -T $photo "$url/classify?top_k=$((i % 9 + 1))"
    echo
    sleep 0.05
done >"$work/codes" &
client=$!
kill -TERM "${daemons[1]}"
wait "${daemons[1]}" || fail "SIGTERM ends it with status $?"
wait $client
[[ $(sort "$work/codes" | uniq -c | xargs) == "120 200" ]] ||
    fail "answers while one left: $(sort "$work/codes" | uniq -c | xargs)"
firing() { jq -e --arg n "$1" '.data.alerts[] | select(.labels.alertname == $n)'; }
is_noticed() { curl -s http://127.0.0.1:9090/api/v1/alerts | firing ResnetdDown; }
wait_for 20 is_noticed
echo "monitor: a server left, 120 of 120 uploads answered by the other, ResnetdDown noticed"
