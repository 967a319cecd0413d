#!/usr/bin/env bash
# Makes a usable Docker engine on a bare Debian or Ubuntu machine, with systemd
# or without. Where Docker works already, privileged containers included, it
# does nothing. It never overwrites a configuration, and ends with a reason and
# a remedy where it can do no more. Running it again is safe.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly runtime=/usr/local/lib/rehearse/oci-runtime
readonly config=/etc/docker/daemon.json
readonly log=/var/log/dockerd.log
readonly start_timeout=60

say() { printf 'docker-up: %s\n' "$*" >&2; }

# fail REASON REMEDY...
fail() {
  say "$1"
  shift
  printf '  -> %s\n' "$@" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || fail "$1 needs root" "sudo -E make docker"
}

has_systemd() { [ -d /run/systemd/system ]; }

# answers: an engine answers the client.
answers() { docker version >/dev/null 2>&1; }

# works: it also starts privileged containers. What is missing goes to standard
# output.
works() { go run ./hack/docker-check 2>&1; }

install_engine() {
  if command -v dockerd >/dev/null && command -v docker >/dev/null; then
    return
  fi
  command -v apt-get >/dev/null || fail "there is no Docker engine, and this is neither Debian nor Ubuntu" \
    "install Docker as https://docs.docker.com/engine/install/ says, then run make docker again"
  need_root "installing Docker"
  say "installing docker.io, iptables and iproute2"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >&2 || fail "apt-get update failed" "see its output above"
  # The package starts the engine where there is systemd, and may fail to where
  # there is none; whether it runs is looked at below.
  apt-get install -q -y --no-install-recommends docker.io iptables iproute2 ca-certificates >&2 ||
    command -v dockerd >/dev/null || fail "apt-get install docker.io failed" "see its output above"
}

start_engine() {
  answers && return
  # An engine that runs but refuses this user is not to be started again.
  if [ "$(id -u)" -ne 0 ] && [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    fail "an engine runs, and this user may not use it" \
      "sudo usermod -aG docker \"\$USER\", then log in again" "or: sudo -E make docker"
  fi
  need_root "starting Docker"
  if has_systemd; then
    say "starting Docker with systemd"
    systemctl start docker || fail "systemd could not start Docker" "journalctl -u docker"
  else
    say "starting dockerd; it logs to $log"
    # What an engine that was killed left behind names a process that may be
    # somebody else's by now, and would keep the new one from starting.
    pgrep -x dockerd >/dev/null || rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
    # A session of its own and no terminal: it must outlive this shell.
    setsid nohup dockerd >>"$log" 2>&1 </dev/null &
    disown
  fi
  local waited=0
  until answers; do
    if [ "$waited" -ge "$start_timeout" ]; then
      has_systemd || tail -n 5 "$log" >&2
      fail "Docker does not answer after ${start_timeout}s" "look at $log, or at: journalctl -u docker"
    fi
    sleep 1
    waited=$((waited + 1))
  done
}

runtime_config() {
  printf '{\n  "runtimes": {"rehearse": {"path": "%s"}},\n  "default-runtime": "rehearse"\n}\n' "$runtime"
}

# set_runtime makes the runtime that leaves out the capabilities that this
# machine lacks Docker's default, without a restart: containers that run go on.
set_runtime() {
  need_root "setting Docker's runtime"
  command -v runc >/dev/null || fail "there is no runc on PATH" "apt-get install runc"
  if [ -s "$config" ] && [ "$(tr -d '[:space:]' <"$config")" != "{}" ] &&
    ! runtime_config | cmp -s - "$config"; then
    fail "privileged containers do not start, and $config exists, which is not overwritten" \
      "add to it: $(runtime_config | tr -d '\n' | sed 's/  */ /g')" \
      "then build the runtime: go build -o $runtime ./hack/oci-runtime" \
      "and restart Docker"
  fi
  say "installing $runtime and making it the default in $config"
  mkdir -p "$(dirname "$runtime")" "$(dirname "$config")"
  # Renamed into place, because the engine may be using the old one.
  CGO_ENABLED=0 go build -trimpath -o "$runtime.new" ./hack/oci-runtime
  mv "$runtime.new" "$runtime"
  runtime_config >"$config.new"
  mv "$config.new" "$config"
  if has_systemd; then
    systemctl reload docker
  else
    kill -HUP "$(cat /var/run/docker.pid)"
  fi
  local waited=0
  until [ "$(docker info --format '{{.DefaultRuntime}}' 2>/dev/null)" = rehearse ]; do
    [ "$waited" -lt "$start_timeout" ] || fail "Docker has not taken up $config" "restart Docker"
    sleep 1
    waited=$((waited + 1))
  done
}

# raise_inotify lets more nodes run side by side than the kernel's default of
# 128 instances for each user does; 512 is what kind asks for.
raise_inotify() {
  local limit=/proc/sys/fs/inotify/max_user_instances
  [ -r "$limit" ] && [ "$(cat "$limit")" -lt 512 ] || return 0
  if [ -w "$limit" ] && echo 512 >"$limit" 2>/dev/null; then
    say "fs.inotify.max_user_instances is 512 now, until the next start of this machine"
  else
    say "fs.inotify.max_user_instances is $(cat "$limit"): three control planes need more (sudo sysctl fs.inotify.max_user_instances=512)"
  fi
}

command -v go >/dev/null || fail "there is no go on PATH" "install it as https://go.dev/doc/install says"

raise_inotify
if answers && works >/dev/null; then
  say "Docker works; nothing to do"
  exit 0
fi
install_engine
start_engine
if ! reason=$(works); then
  case $reason in
  *"apply caps"* | *"operation not permitted"* | *"Operation not permitted"*) set_runtime ;;
  *) fail "privileged containers do not start: $reason" "look at $log, or at: journalctl -u docker" ;;
  esac
  reason=$(works) || fail "privileged containers still do not start: $reason" \
    "run on a machine or in a sandbox that may start them"
fi
say "Docker works: $(docker version --format 'engine {{.Server.Version}}'), default runtime $(docker info --format '{{.DefaultRuntime}}')"
