# Runs in the new system, as its first process: bash lib.sh WHAT. Prints a transcript.

set -euo pipefail
cd /root
DOCS=/opt/try/docs

die() {
    echo "FAILED: $*" >&2
    exit 1
}

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    "$@" || die "$what"
    echo "ok: $what"
}

# block PAGE SECTION N: the n-th block of a section: a file is written, commands are run.
block() {
    local file=/tmp/block first
    awk -v section="## $2" -v want="$3" '
        /^## / { inside = $0 == section }
        inside && /^ *```(sh|nginx)$/ { n++; match($0, /^ */); indent = RLENGTH; copying = n == want; next }
        /^ *```$/ { copying = 0 }
        copying { print substr($0, indent + 1) }' "$DOCS/$1.md" >$file
    [[ -s $file ]] || die "$1.md has no block $3 in \"$2\""
    first=$(head -n 1 $file)
    if [[ $first == "# /"* ]]; then
        echo "--- ${first#\# }"
        cp $file "${first#\# }"
    else
        echo "--- $1.md, $2"
        bash -euxo pipefail $file || die "a command of $1.md, $2"
    fi
}

# What the other pages go on from: the package, and the configuration of the first steps.
first_steps() {
    block first-steps Install 1
    block first-steps Configure 1
    block first-steps Configure 2
}

# Pebble, as the certificate authority of a world in which all names are this machine.
the_world() {
    local dir=/opt/world name
    mkdir -p $dir
    # Without an init system packages leave services alone, unless this says that they may act on them.
    printf '#!/bin/sh\nexit 104\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get install -y --no-install-recommends pebble openssl ca-certificates >$dir/apt.log 2>&1 ||
        die "$(tail -n 3 $dir/apt.log)"
    for name in localhost example.com www.example.com {a,b,c}.example.com; do echo "127.0.0.1 $name"; done >>/etc/hosts
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null
    cat >$dir/pebble.json <<EOF
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
    "certificate": "$dir/cert.pem", "privateKey": "$dir/key.pem", "httpPort": 80, "tlsPort": 443}}
EOF
    pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' -defaultIPv6 '' -dns01 127.0.0.1:8053 \
        -management 127.0.0.1:8055 >$dir/dns.log 2>&1 &
    PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config $dir/pebble.json \
        -dnsserver 127.0.0.1:8053 >$dir/pebble.log 2>&1 &
    cp $dir/cert.pem /usr/local/share/ca-certificates/world-https.crt
    until openssl s_client -connect 127.0.0.1:15000 </dev/null >/dev/null 2>&1; do sleep 0.1; done
    apt-get install -y --no-install-recommends curl >>$dir/apt.log 2>&1
    curl -sSk -o /usr/local/share/ca-certificates/world-root.crt https://127.0.0.1:15000/roots/0
    update-ca-certificates >/dev/null 2>&1
    apt-get purge -y curl >>$dir/apt.log 2>&1

    # Which server is asked is all that differs from a user's machine.
    mkdir -p /root/.config/letsencrypt /etc/dehydrated/conf.d
    # Without a terminal certbot waits some minutes before it renews.
    printf '%s\n' 'server = https://localhost:14000/dir' 'no-random-sleep-on-renew = true' \
        >/root/.config/letsencrypt/cli.ini
    echo 'CA=https://localhost:14000/dir' >/etc/dehydrated/conf.d/world.sh
    printf '#!/bin/sh\nexec /usr/bin/lego --server https://localhost:14000/dir "$@"\n' >/usr/local/bin/lego
    chmod 755 /usr/local/bin/lego
}

# serial NAME [OPTION]...: of the certificate that a client gets.
serial() {
    local name=$1
    shift
    openssl s_client -connect 127.0.0.1:443 -servername "$name" "$@" </dev/null 2>/dev/null |
        openssl x509 -noout -serial 2>/dev/null || echo none
}

workers() { pgrep_children "$(cat /run/nginx.pid)"; }
pgrep_children() { cat "/proc/$1/task/$1/children"; }

# load NAME FILE: handshakes, one after another, until FILE.stop is there; what went wrong is in FILE.
load() {
    local count=0
    : >"$2"
    while [[ ! -e $2.stop ]]; do
        curl -sS -o /dev/null --max-time 10 "https://$1/" 2>>"$2" || echo "failed: $count" >>"$2"
        count=$((count + 1))
    done
    echo "$count" >"$2.count"
}

the_world
# shellcheck source=/dev/null
. "/opt/try/try.d/$1.try"
echo "ok: $1"
