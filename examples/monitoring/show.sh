#!/usr/bin/env bash
# Shows an alert arriving: starts Alertmanager, the leaky service and Prometheus (Debian's prometheus and
# prometheus-alertmanager) on loopback, with the configurations of this folder, and waits until Alertmanager has
#
#   1. what Prometheus' rule says of the service's RSS,
#   2. what heapward itself says of it, where this heapward sends alerts,
#   3. that the service is down, after it was ended.
#
# Only what must be small to be seen at once is changed, in copies: intervals, `for`, and the bound of 2 GB.
# Ends with 0 when all came, and with 1 and the programs' last words when one did not.
#
#   examples/monitoring/show.sh                     builds the leaky service
#   examples/monitoring/show.sh PATH/leaky_service  takes that one
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
readonly bound=40000000 # bytes, which the leaky service passes after some seconds
readonly patience=60    # seconds that anything may take

work="$(mktemp -d)"
started=()

# What we started, by its number, and nothing else.
stop() { # number
  kill "$1" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$1" 2>/dev/null || true
}

clean_up() {
  for number in ${started[@]+"${started[@]}"}; do stop "$number"; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "FAILED: $*" >&2
  for log in "$work"/*.log; do
    [ -e "$log" ] || continue
    printf -- '-- the end of %s\n' "${log##*/}" >&2
    tail -n 15 "$log" >&2
  done
  exit 1
}

program() { # names of the same program
  local name
  for name in "$@"; do
    command -v "$name" && return
  done
  fail "none of $* is here: apt-get install prometheus prometheus-alertmanager"
}

start() { # name, command …
  local name="$1"
  shift
  "$@" >"$work/$name.log" 2>&1 &
  started+=("$!")
}

# Asks again and again; a program that ends meanwhile ends the waiting.
wait_for() { # what, command …
  local what="$1" begun="$SECONDS" number
  shift
  until "$@"; do
    for number in "${started[@]}"; do
      kill -0 "$number" 2>/dev/null || fail "a program ended while waiting for $what"
    done
    [ $((SECONDS - begun)) -lt "$patience" ] || fail "not within $patience s: $what"
    sleep 0.2
  done
}

# The port is the kernel's choice; the program says which.
address_in() { # log, sed expression that leaves the address
  address="$(sed -n "$2" "$work/$1.log" | head -n 1)"
  [ -n "$address" ]
}

get() { curl -fsS --max-time 5 "$@" 2>>"$work/curl.log"; }

has_alert() { # name
  get -G "http://$alertmanager/api/v2/alerts" --data-urlencode "filter=alertname=\"$1\"" | grep -q "\"alertname\":\"$1\""
}

arrived() { # name
  printf '\n%s has arrived after %s s:\n' "$1" "$SECONDS"
  "$amtool" --alertmanager.url="http://$alertmanager" alert query "alertname=$1"
}

is_scraped() {
  get "http://$prometheus/api/v1/query?query=heapward_process_rss_bytes" | grep -q "\"instance\":\"$service\""
}

for name in curl sed grep; do program "$name" >/dev/null; done
prometheus_program="$(program prometheus)"
alertmanager_program="$(program prometheus-alertmanager alertmanager)"
amtool="$(program amtool)"
leaky="${1-}"
if [ -z "$leaky" ]; then
  (cd "$root" && cargo build --locked --release --example leaky_service)
  leaky="${CARGO_TARGET_DIR:-$root/target}/release/examples/leaky_service"
fi
[ -x "$leaky" ] || fail "$leaky is no program"
SECONDS=0

# An empty cluster address: else it would listen for its peers on every interface.
start alertmanager "$alertmanager_program" --config.file="$here/alertmanager.yml" --storage.path="$work/alertmanager" \
  --web.listen-address=127.0.0.1:0 --cluster.listen-address=
readonly listening='s/.*Listening on.*address=\(127\.0\.0\.1:[0-9]*\).*/\1/p'
wait_for "Alertmanager's port" address_in alertmanager "$listening"
alertmanager="$address"

start service env HEAPWARD_LISTEN=127.0.0.1:0 HEAPWARD_PROFILES_DIR="$work/profiles" HEAPWARD_RSS_THRESHOLD="$bound" \
  HEAPWARD_ALERTMANAGER="http://$alertmanager" HEAPWARD_ALERT_THRESHOLD="$bound" "$leaky"
service_at=$((${#started[@]} - 1))
wait_for "the service's port" address_in service 's|^open *http://\([^ ]*\)/$|\1|p'
service="$address"

sed -e "s/127\.0\.0\.1:6060/$service/" -e "s/127\.0\.0\.1:9093/$alertmanager/" -e 's/_interval: 15s/_interval: 1s/' \
  "$here/prometheus.yml" >"$work/prometheus.yml"
sed -e "s/> 2e9/> $bound/" -e 's/for: [0-9]*m$/for: 2s/' "$here/heapward.rules.yml" >"$work/heapward.rules.yml"
grep -q "heapward_process_rss_bytes > $bound" "$work/heapward.rules.yml" || fail "the rule for RSS reads otherwise now"
start prometheus "$prometheus_program" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
  --web.listen-address=127.0.0.1:0
wait_for "Prometheus' port" address_in prometheus "$listening"
prometheus="$address"
echo "service http://$service/  Prometheus http://$prometheus/  Alertmanager http://$alertmanager/"

wait_for "a scrape" is_scraped
wait_for "what Prometheus' rule says of RSS" has_alert HeapwardRssAbove2GB
arrived HeapwardRssAbove2GB

case "$(curl -s --max-time 5 -o "$work/alerts" -w '%{http_code}' "http://$service/api/alerts" || true)" in
  200)
    wait_for "heapward's own alert" has_alert HeapwardMemoryUse
    arrived HeapwardMemoryUse
    ;;
  *) fail "the service does not say what it alerts of" ;;
esac

stop "${started[$service_at]}"
unset "started[$service_at]"
wait_for "that the service is down" has_alert HeapwardDown
arrived HeapwardDown
