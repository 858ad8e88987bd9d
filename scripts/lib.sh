# Shared by the scripts: where things are, and what they need. Sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MODULE=ngx_http_rust_shared_cert_module.so
export DEBIAN_FRONTEND=noninteractive

if [[ -d $HOME/.cargo/bin ]]; then
    PATH=$PATH:$HOME/.cargo/bin
fi

VENDORED_PACKAGES=(gcc libc6-dev make pkg-config clang libclang-dev libssl-dev libpcre2-dev
    zlib1g-dev)
SYSTEM_PACKAGES=(gcc libc6-dev make pkg-config clang libclang-dev libssl-dev libpcre2-dev
    zlib1g-dev nginx nginx-dev)
PACKAGE_PACKAGES=(debhelper dpkg-dev lintian fakeroot git)
RUN_PACKAGES=(curl openssl)
TEST_PACKAGES=(curl openssl ca-certificates perl libio-socket-ssl-perl libnginx-mod-http-lua
    prometheus valgrind python3-venv)
AIOQUIC=1.7.2
ACME_PACKAGES=(pebble certbot lego dehydrated)

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Installs the packages that are missing; without root, names them and ends.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "note: this is no Debian; what it calls these packages has to be there: $*"
        return
    fi
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed* ]] ||
            missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    if ((EUID != 0)); then
        die "not installed; run as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    if [[ ! ${APT_UPDATED-} ]]; then
        apt-get update -qq >&2
        export APT_UPDATED=1
    fi
    install_without_services "${missing[@]}" >&2
    if [[ " ${missing[*]} " == *" nginx "* ]]; then
        stop_packaged_nginx
    fi
    disable_unit prometheus.service "${missing[@]}"
    disable_unit certbot.timer "${missing[@]}"
}

# disable_unit UNIT INSTALLED...: no server or timer of what tests need is to run, now or after the next boot.
disable_unit() {
    local unit=$1
    shift
    [[ " $* " == *" ${unit%.*} "* ]] && command -v systemctl >/dev/null || return 0
    systemctl disable --quiet "$unit" >&2 || true
}

# Of prometheus it is promtool that is wanted. A policy that is there already stays.
install_without_services() (
    policy=/usr/sbin/policy-rc.d    # not local: the trap needs it
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get install -y -qq --no-install-recommends "$@"
)

# Where that policy allows it, the package starts a server on port 80.
stop_packaged_nginx() {
    local pid
    pid=$(cat /run/nginx.pid 2>/dev/null) || return 0
    [[ $(readlink "/proc/$pid/exe") == /usr/sbin/nginx ]] || return 0
    kill -QUIT "$pid"
    wait_until 50 not_running "$pid" || say "note: the packaged NGINX still runs, pid $pid"
}

need_cargo() {
    local version
    command -v cargo >/dev/null || die "cargo is missing (1.85 or later, Debian's is older):" \
        "see https://rustup.rs, or: curl -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
    version=$(cargo --version | cut -d' ' -f2)
    [[ $(printf '%s\n' 1.85.0 "$version" | sort -V | head -n1) == 1.85.0 ]] ||
        die "cargo $version is too old, 1.85 is needed: rustup update"
}

not_running() { ! kill -0 "$1" 2>/dev/null; }

# wait_until TENTHS COMMAND...: runs the command until it succeeds.
wait_until() {
    local tenths=$1
    shift
    until "$@"; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
}

# What `cargo` must see to make the vendored NGINX; the same in every script, so that it is made
# once. An NGINX of the user's is for `scripts/build system` only.
vendored_environment() {
    unset NGINX_SOURCE_DIR NGINX_BUILD_DIR NGX_VERSION NGX_CFLAGS NGX_LDFLAGS
    export NGX_CONFIGURE_ARGS="--with-http_v3_module --with-debug"
}
