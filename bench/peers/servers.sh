# The servers that are compared, each with its own way of getting certificates. Sourced, not run.

# `again` is a second server like the first: what it differs by is noise.
PEERS=${PEERS:-static again blocks paths paths-small njs lua haproxy lazy pushed}

declare -A PEER_SAYS=(
    [static]='static `ssl_certificate`'
    [again]='the same, a second server'
    [blocks]='static server blocks, one for each name'
    [paths]='path variables, `ssl_certificate_cache` for all'
    [paths-small]='path variables, `ssl_certificate_cache` for 1 in 10'
    [njs]='njs shared dictionary'
    [lua]='lua, LRU cache of parsed certificates'
    [haproxy]='HAProxy, a directory of certificates'
    [lazy]='this module, files read when needed'
    [pushed]='this module, pushed over the API'
    [first]='this module, each set new to the worker'
    [state]='this module, pushed, `state=`'
    [startup]='this module, `load=startup`'
)

# make_certificates KEY COUNT [DIRECTORY]: in $DIR, for all servers.
make_certificates() {
    local into=$DIR/${3:-$1}
    "$TLSLOAD" sets "$into" "$2" 1 "$1"
    chmod -R a+rX "$into"
}

modules_of() {
    case $1 in
        lazy | first | pushed | state | startup) echo "load_module $SUITE_MODULE;" ;;
        njs) echo "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;" ;;
        lua)
            echo "load_module /usr/lib/nginx/modules/ndk_http_module.so;"
            echo "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;" ;;
    esac
}

# Of the http block of an NGINX: peer, directory of certificates, port, number of names.
http_of() {
    local peer=$1 c=$2 listen="listen 127.0.0.1:$3 ssl;" names=$4 i
    local static="ssl_certificate $c/n0.test.cert.pem; ssl_certificate_key $c/n0.test.key.pem;"
    local paths="ssl_certificate $c/\$ssl_server_name.cert.pem;
        ssl_certificate_key $c/\$ssl_server_name.key.pem;"
    case $peer in
        static | again) echo "server { $listen $static }" ;;
        blocks)
            for ((i = 0; i < names; i++)); do
                echo "server { $listen server_name n$i.test; ssl_certificate $c/n$i.test.cert.pem;
                    ssl_certificate_key $c/n$i.test.key.pem; }"
            done ;;
        # A name has two entries, and what nobody asked for in `inactive` goes.
        paths) echo "server { $listen $paths
            ssl_certificate_cache max=$((names * 2 + 100)) inactive=1d; }" ;;
        paths-small) echo "server { $listen $paths
            ssl_certificate_cache max=$((names / 5 + 2)) inactive=1d; }" ;;
        njs) echo "js_path $INSIDE/src/bench/peers; js_import certs from certs.js;
            js_shared_dict_zone zone=certs:$((names / 50 + 4))m;
            js_set \$certificate certs.certificate; js_set \$key certs.key;
            js_var \$certs_directory $c;
            server { $listen ssl_certificate data:\$certificate; ssl_certificate_key data:\$key; }" ;;
        lua) echo "lua_package_path '$INSIDE/src/bench/peers/?.lua;;';
            init_by_lua_block { require('certs').init('$c', $((names + 100))) }
            server { $listen $static
            ssl_certificate_by_lua_block { require('certs').serve() } }" ;;
        lazy | startup) echo "rust_shared_cert_zone zone=certs:$((names / 500 + 4))m load=$peer
            cert=$c/\$ssl_server_name.cert.pem key=$c/\$ssl_server_name.key.pem;" ;;&
        # A cache of one set: each handshake for another name is the first for its set.
        first) echo "rust_shared_cert_zone zone=certs:$((names / 500 + 4))m valid=off worker_cache=1
            cert=$c/\$ssl_server_name.cert.pem key=$c/\$ssl_server_name.key.pem;" ;;&
        pushed) echo "rust_shared_cert_zone zone=certs:$((names / 500 + 4))m load=off;" ;;&
        state) echo "rust_shared_cert_zone zone=certs:$((names / 500 + 4))m load=off
            state=$c/state;" ;;&
        lazy | first | startup | pushed | state) echo "server { $listen rust_shared_cert certs; }
            server { listen unix:$DIR/$peer.sock; keepalive_requests 1000000;
            location = /clear { rust_shared_cert_clear certs; }
            location /certs/ { rust_shared_cert_api certs write=unix; } }" ;;
    esac
}

nginx_conf() {
    local path
    modules_of "$1"
    echo "daemon off; worker_processes 1; user www-data; master_process $5;"
    echo "pid $DIR/$1.pid; error_log $DIR/$1.log warn;"
    echo "events { worker_connections 4096; } http { access_log off;"
    echo "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;"
    for path in client_body proxy fastcgi uwsgi scgi; do
        echo "${path}_temp_path $DIR/temp;"
    done
    echo "ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519;"
    http_of "$1" "$2" "$3" "$4"
    echo "}"
}

# As NGINX is by default, it keeps no sessions.
haproxy_conf() {
    cat <<EOF
global
    nbthread 1
    maxconn 4096
    user www-data
    stats socket $DIR/haproxy.sock mode 600 level admin
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3
    ssl-default-bind-curves X25519
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend tls
    bind 127.0.0.1:$2 ssl crt $1/bundles/
    http-request return status 200
EOF
}

# start_peer PEER CERTIFICATES PORT NAMES [on|off [COMMAND...]]: as a master with a worker or not, under a
# command; leaves its first process in $pid, and in $started when that was.
start_peer() {
    local peer=$1 c=$2 port=$3 names=$4 master=${5:-on} conf=$DIR/$1.conf server
    if [[ $peer == haproxy ]]; then
        haproxy_conf "$c" "$port" >"$conf"
        server=(/usr/sbin/haproxy -W -db -f "$conf")
    else
        nginx_conf "$peer" "$c" "$port" "$names" "$master" >"$conf"
        server=(/usr/sbin/nginx -p "$DIR" -c "$conf")
    fi
    started=$(now_ms)
    "${IN_SUITE[@]}" taskset -c 0 "${@:6}" "${server[@]}" >>"$DIR/$peer.log" 2>&1 &
    pid=$!
    wait_port "$pid" "$port" "$peer"
}

# push_all PEER CERTIFICATES NAMES: one curl for all, which has some on their way while others are written
# to disk.
push_all() {
    local peer=$1 c=$2 names=$3 i
    for ((i = 0; i < names; i++)); do
        printf 'url = "http://localhost/certs/sets/n%d.test"\nupload-file = "%s"\n' \
            "$i" "$c/bundles/n$i.test.pem"
        echo 'output = "/dev/null"'
    done | curl -q -sS -Z --parallel-max 32 --no-progress-meter --fail --fail-early \
        --unix-socket "$DIR/$peer.sock" -H 'Expect:' \
        -H 'Content-Type: application/x-pem-file' -K -
}

wait_port() {
    local pid=$1 port=$2 peer=$3
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || die "$peer did not start: $(tail -n 3 "$DIR/$peer.log")"
        sleep 0.01
    done
}

# The process that serves: the worker, which comes after the port is open.
serving_process() { wait_until 100 pgrep -P "$1" || die "a server has no worker"; }

stop_peer() {
    kill -TERM "$1" 2>/dev/null || return 0
    wait_until 100 not_running "$1" || kill -KILL "$1"
    wait "$1" 2>/dev/null || true
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

resident_kib() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"; }

# Nanoseconds on a CPU so far, of all threads.
cpu_ns() { cat "/proc/$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'; }
