#!/bin/bash
# The container image without a container engine: what is in it, and that it serves as it is meant to
# run: read-only, as its user, without a capability, as process 1 of namespaces of its own.
#   tests/image.sh BINARY          lays the image's root out from BINARY, on this machine
#   tests/image.sh --build         builds docker/Dockerfile with buildah, on a Debian of mmdebstrap
# Needs root; the second also buildah and mmdebstrap, and takes minutes.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
photo=$PWD/tests/golden/images/baseline-420.jpg
max_bytes=$((25 * 1000 * 1000))
max_ready_ms=100

work=$(mktemp -d /var/tmp/resnetd-image.XXXXXX)
root=$work/root
puller=$work/puller # the root of the image that fetches models
launcher= hub=
trap 'stop_all' EXIT
stop_all() {
    [[ -z $launcher ]] || kill -KILL "$launcher" 2>/dev/null || true
    [[ -z $hub ]] || kill "$hub" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
fail() {
    echo "image: $*" >&2
    [[ ! -e $work/log ]] || tail -n 20 "$work/log" >&2
    exit 1
}
is() { # WHAT IS WANTED
    [[ $2 == "$3" ]] || fail "$1 is '$2' instead of '$3'"
}

for tool in capsh ip nsenter curl; do
    command -v $tool >/dev/null || fail "$tool is missing; run tests/deps.sh ci"
done
if ! unshare --mount --pid --net --fork true 2>/dev/null; then
    echo "image: NOT TESTED, this machine does not let us have namespaces"
    exit 0
fi

# ---- the image ---------------------------------------------------------------------------------

version=$(sed -n 's/^VERSION := //p' Makefile)
# One line's argument in docker/Dockerfile, of its last stage.
said() { sed -n "s/^$1 //p" docker/Dockerfile | tail -n 1; }

lay_out() {
    docker/rootfs.sh "$1" "$root"
    docker/rootfs.sh "$1-pull" "$puller"
    user=$(said USER)
    environment=$(said ENV)
}

build() {
    export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
    local base=resnetd-test-base image=resnetd-test container mounted
    mmdebstrap --quiet --variant=apt --dpkgopt=force-unsafe-io bookworm "$work/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base.tar" >/dev/null
    buildah commit --quiet --rm "$container" $base >/dev/null
    rm "$work/base.tar"
    buildah bud --quiet --format docker --build-arg BASE=localhost/$base --build-arg COMMIT=tested \
        --ignorefile docker/Dockerfile.dockerignore -f docker/Dockerfile -t $image . \
        >"$work/bud" 2>&1 || { tail -n 30 "$work/bud" >&2; fail "buildah could not build it"; }
    buildah bud --quiet --format docker --build-arg BASE=localhost/$base --target pull \
        --ignorefile docker/Dockerfile.dockerignore -f docker/Dockerfile -t $image-pull . \
        >"$work/bud" 2>&1 || { tail -n 30 "$work/bud" >&2; fail "buildah could not build the other"; }
    config() { buildah inspect --type image --format "{{$1}}" $image; }
    user=$(config .Docker.Config.User)
    environment=$(config 'index .Docker.Config.Env 0')
    [[ $environment == RESNETD_* ]] || environment=$(config 'index .Docker.Config.Env 1')
    is entrypoint "$(config .Docker.Config.Entrypoint)" "[/usr/bin/resnetd]"
    is command "$(config .Docker.Config.Cmd)" "[serve]"
    is "stop signal" "$(config .Docker.Config.StopSignal)" SIGTERM
    is "health check" "$(config .Docker.Config.Healthcheck.Test)" "[CMD /usr/bin/resnetd health]"
    is ports "$(config .Docker.Config.ExposedPorts)" "map[8080/tcp:{}]"
    local label=org.opencontainers.image
    is "label version" "$(config "index .Docker.Config.Labels \"$label.version\"")" "$version"
    is "label revision" "$(config "index .Docker.Config.Labels \"$label.revision\"")" tested
    is "label licenses" "$(config "index .Docker.Config.Labels \"$label.licenses\"")" MIT
    container=$(buildah from $image)
    mounted=$(buildah mount "$container")
    cp -a "$mounted" "$root"
    buildah rm "$container" >/dev/null
    container=$(buildah from $image-pull)
    mounted=$(buildah mount "$container")
    cp -a "$mounted" "$puller"
    buildah rm "$container" >/dev/null
    echo "image: built by buildah; entrypoint, command, user, health check, labels as they should be"
    grep -h '^dockerfilelint' "$work/bud" || true
}

# As Docker reads it: with BASE's default in its place. The tool knows that scratch has no tag, but
# not as a stage with a name.
lint_dockerfile() {
    if ! command -v npx >/dev/null; then
        echo "image: dockerfilelint NOT RUN, there is no npx"
        return
    fi
    sed "s|\${BASE}|$(sed -n 's/^ARG BASE=//p' docker/Dockerfile)|; s/^FROM scratch AS .*/FROM scratch/" docker/Dockerfile \
        >"$work/Dockerfile"
    npx --yes dockerfilelint@1.8.0 "$work/Dockerfile" >"$work/lint" 2>&1 ||
        { cat "$work/lint" >&2; fail "dockerfilelint complains"; }
    echo "image: dockerfilelint has nothing to say"
}

case ${1:-} in
--build)
    build
    lint_dockerfile
    ;;
?*) lay_out "$1" ;;
*) fail "usage: $0 BINARY|--build" ;;
esac

# ---- what is in it -----------------------------------------------------------------------------

is user "$user" 65532:65532
grep -q "org.opencontainers.image.version=\"$version\"" docker/Dockerfile ||
    fail "the label says another version than the Makefile's $version"
bytes=$(find "$root" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
[[ $bytes -le $max_bytes ]] || fail "$bytes bytes, over $max_bytes"
programs=$(cd "$root" && find . -type f -perm /111 ! -name '*.so*')
is "what can be executed" "$programs" ./usr/bin/resnetd
is "set-id files" "$(find "$root" -perm /6000)" ""
is "what others may write" "$(find "$root" ! -type l -perm /022)" ""
is "what belongs to others" "$(find "$root" ! -uid 0)" ""
for package in "$root"/var/lib/dpkg/status.d/*; do
    grep -q '^Version: ' "$package" || fail "no version in $package"
    [[ -s $root/usr/share/doc/${package##*/}/copyright ]] || fail "no licence of ${package##*/}"
done
echo "image: $((bytes / 1000)) kB in $(find "$root" -type f | wc -l) files, one program, no shell," \
    "records of $(find "$root/var/lib/dpkg/status.d" -type f | wc -l) packages"

# The other one fetches a model as some user into a folder of his, from a hub on this machine.
bytes=$(find "$puller" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
[[ $bytes -le $max_bytes ]] || fail "resnetd-pull: $bytes bytes, over $max_bytes"
is "what can be executed of resnetd-pull" \
    "$(cd "$puller" && find . -type f -perm /111 ! -name '*.so*')" ./usr/bin/resnetd-pull
install -D -m 644 config/models/cifar10-resnet20.safetensors \
    "$work/hub/some/net/resolve/main/model.safetensors"
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/hub" 0 >"$work/hub.log" 2>&1 &
hub=$!
until port=$(grep -oP 'port \K\d+' "$work/hub.log"); do
    kill -0 $hub || fail "no hub: $(cat "$work/hub.log")"
    sleep 0.05
done
chown 65532:65532 "$puller/models"
env -i RESNETD_MODEL_DIR=/models "$(command -v chroot)" --userspec=65532:65532 "$puller" /usr/bin/resnetd-pull \
    --hub "http://127.0.0.1:$port" some/net >"$work/log" 2>&1 || fail "resnetd-pull could not fetch"
cmp -s config/models/cifar10-resnet20.safetensors "$puller/models/net/model.safetensors" ||
    fail "resnetd-pull has fetched something else"
kill $hub
hub=
echo "image: resnetd-pull, $((bytes / 1000)) kB: fetches a model as 65532:65532"

# ---- running it --------------------------------------------------------------------------------

# What a container runtime mounts; then the daemon in place of the shell, as process 1.
mkdir -p "$root/proc" "$root/dev"
cat >"$work/contain" <<'INNER'
set -eu
root=$1 user=$2 environment=$3 capsh=$4
shift 4
read -r pid _ </proc/self/stat # as the outside knows it
echo "$pid" >"${root%/*}/pid"
ip link set lo up
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,size=64k tmpfs "$root/dev"
for device in null zero urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro,bind "$root"
exec env -i "$environment" "$capsh" --chroot="$root" --drop=all --no-new-privs --groups= \
    --gid="${user#*:}" --uid="${user%:*}" --shell=/usr/bin/resnetd -- "$@"
INNER

pid=
ready_ms=
start() {
    local started_ns name=
    rm -f "$work/pid"
    unshare --mount --pid --net --ipc --uts --fork --kill-child=KILL \
        sh "$work/contain" "$root" "$user" "$environment" "$(command -v capsh)" \
        serve 2>"$work/log" &
    launcher=$!
    until [[ $name == resnetd ]]; do
        kill -0 $launcher 2>/dev/null || fail "it did not start"
        read -r pid 2>/dev/null <"$work/pid" && read -r name <"/proc/$pid/comm" || true
    done
    started_ns=$(date +%s%N)
    until [[ $(<"$work/log") == *" is serving on "* ]]; do
        kill -0 $launcher 2>/dev/null || fail "it did not get ready"
    done
    ready_ms=$((($(date +%s%N) - started_ns) / 1000000))
}
# SIGTERM, as an engine does it; the exit status.
stop() {
    local status=0
    kill -TERM "$pid"
    wait $launcher || status=$?
    launcher=
    return $status
}
# A program of this machine in the container's network; one of the image in all its namespaces.
beside() { nsenter -t "$pid" --net "$@"; }
within() {
    env -i "$environment" nsenter -t "$pid" --net --pid --mount --root --wd \
        -S "${user%:*}" -G "${user#*:}" "$@"
}
field() { awk -v name="$2:" '$1 == name { print $2 }' "/proc/$1/status"; }
# Everything in the container but its first process.
others() {
    local namespace process
    namespace=$(readlink "/proc/$pid/ns/pid")
    for process in /proc/[0-9]*; do
        [[ $process != "/proc/$pid" && $(readlink "$process/ns/pid" 2>/dev/null) == "$namespace" ]] &&
            echo "${process#/proc/}"
    done
    return 0
}

best_ms=
for attempt in {1..5}; do
    start
    [[ -n $best_ms && $best_ms -le $ready_ms ]] || best_ms=$ready_ms
    [[ $best_ms -gt $max_ready_ms && $attempt -lt 5 ]] || break
    stop || fail "SIGTERM ends it with status $?"
done
# Where everything waits for a core most of the time, a clock says nothing of this program.
waiting=$(sed -n 's/^some avg10=\([0-9]*\).*/\1/p' /proc/pressure/cpu 2>/dev/null) || true
if [[ $best_ms -gt $max_ready_ms && ${waiting:-0} -lt 50 ]]; then
    fail "ready after $best_ms ms, over $max_ready_ms"
fi
url=http://127.0.0.1:8080
is /readyz "$(beside curl -s -o /dev/null -w '%{http_code}' $url/readyz)" 200
within /usr/bin/resnetd health || fail "the health check fails"
echo "image: ready $best_ms ms after exec, resnetd health says so (CPU pressure ${waiting:-?} %)"

is "its pid inside" "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status")" 1
grep -q 'images are decoded in confined processes' "$work/log" || fail "no confined helpers"
mapfile -t helpers < <(others)
[[ ${#helpers[@]} -ge 2 ]] || fail "there are no helpers"
n_filtered=0
for process in "$pid" "${helpers[@]}"; do
    is "user of $process" "$(field "$process" Uid)" "${user%:*}"
    is "group of $process" "$(field "$process" Gid)" "${user#*:}"
    is "capabilities of $process" "$(field "$process" CapEff)" 0000000000000000
    is "bounding set of $process" "$(field "$process" CapBnd)" 0000000000000000
    is "no new privileges in $process" "$(field "$process" NoNewPrivs)" 1
    [[ $(field "$process" Seccomp) -ne 2 ]] || n_filtered=$((n_filtered + 1))
done
is "processes with a seccomp filter" $n_filtered $((${#helpers[@]} - 1)) # all but the zygote
awk '$5 == "/" && $6 !~ /^ro/ { exit 1 }' "/proc/$pid/mountinfo" || fail "its root can be written"
echo "image: as ${user}, process 1, no capability, root read-only, $n_filtered helpers under seccomp"

# What it says of a picture is what the program says on this machine.
beside curl -sS -T "$photo" "$url/classify?top_k=3&timings=0" >"$work/answer"
predictions() { sed 's/.*"predictions":\(\[[^]]*\]\).*/\1/'; }
served=$(predictions <"$work/answer")
[[ $served == '[{"index":'* ]] || fail "the answer is $(cat "$work/answer")"
within /usr/bin/resnetd classify --json --top-k 3 - <"$photo" | predictions >"$work/offline"
is "the answer" "$served" "$(cat "$work/offline")"
beside curl -sS -o "$work/metrics" "$url/metrics" # grep -q would leave a pipe before curl does
grep -q '^resnetd_images_total{outcome="ok",reason=""} 1$' "$work/metrics" ||
    fail "its metrics do not count the image"
echo "image: classifies: $(sed 's/.*"label":"\([^"]*\)".*/\1/' <<<"${served%%\}*}")"

# Process 1 has to take care of what dies below it: each helper and the zygote in turn.
for process in "${helpers[@]}"; do
    kill -KILL "$process" 2>/dev/null || true
done
for _ in {1..100}; do
    beside curl -sS -o /dev/null -T "$photo" "$url/classify"
    dead=0
    for process in $(others); do
        [[ $(field "$process" State) != Z ]] || dead=$((dead + 1))
    done
    [[ $dead -gt 0 ]] || break
    sleep 0.05
done
is "zombies" $dead 0
is "an answer after all helpers were killed" \
    "$(beside curl -s -o /dev/null -w '%{http_code}' -T "$photo" $url/classify)" 200

# SIGTERM to process 1 while uploads are under way: what was accepted is answered.
clients=()
for i in {1..16}; do
    beside curl -sS --limit-rate 400 -o /dev/null -w '%{http_code}\n' -T "$photo" \
        "$url/classify?top_k=$((i % 9 + 1))" >"$work/client$i" 2>&1 &
    clients+=($!)
done
# Port 8080 in state 1, established.
until [[ $(awk '$2 ~ /:1F90$/ && $4 == "01"' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6" | wc -l) -ge 16 ]]; do
    sleep 0.05
done
stop || fail "SIGTERM ends it with status $?"
wait "${clients[@]}" || fail "a client got no answer"
is "answers to 16 uploads under way at SIGTERM" "$(cat "$work"/client* | sort | uniq -c | xargs)" \
    "16 200"
echo "image: helpers killed: reaped and replaced; SIGTERM: 16 of 16 uploads under way answered, exit 0"
