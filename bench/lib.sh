# Shared by the measurements: an NGINX with one way of getting certificates. Sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NGINX=${TEST_NGINX_BINARY:-$ROOT/build/vendored/nginx}
MODULE=${TEST_NGINX_MODULE:-$ROOT/build/vendored/ngx_http_rust_shared_cert_module.so}
NAMES=${NAMES:-1000}
KEY=${KEY:-p256}
PORT=${PORT:-8743}
ADDR=127.0.0.1:$PORT

# A directory for what is measured, which is gone at the end.
prepare_directory() {
    DIR=$(mktemp -d)
    trap 'rm -rf "$DIR"' EXIT
}

# Builds the load generator.
prepare_tlsload() {
    prepare_directory
    cargo build --quiet --release --manifest-path "$ROOT/bench/tlsload/Cargo.toml"
    TLSLOAD=${CARGO_TARGET_DIR:-$ROOT/bench/tlsload/target}/release/tlsload
}

# Builds the load generator and makes the certificates.
prepare() {
    prepare_tlsload
    make_certificates
}

# `n0.test` to `n$((NAMES-1)).test`, each with the same intermediate, for keys as $KEY says.
make_certificates() {
    mkdir -p "$DIR/certs"
    chmod 755 "$DIR" "$DIR/certs"
    (
        cd "$DIR"
        local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) leaf=()
        leaf=("${new[@]}")
        [[ $KEY != rsa ]] || leaf=(-newkey rsa:2048 -nodes)
        openssl req -x509 "${new[@]}" -keyout ca.key -out ca.pem -subj /CN=ca -days 30
        openssl req -new "${new[@]}" -keyout inter.key -out inter.csr -subj /CN=inter
        printf 'basicConstraints=CA:TRUE\n' >ca.ext
        openssl x509 -req -in inter.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
            -extfile ca.ext -out inter.pem
        for ((i = 0; i < NAMES; i++)); do
            openssl req -new "${leaf[@]}" -keyout "certs/n$i.test.key.pem" -out leaf.csr \
                -subj "/CN=n$i.test"
            printf 'subjectAltName=DNS:n%d.test\n' "$i" >leaf.ext
            openssl x509 -req -in leaf.csr -CA inter.pem -CAkey inter.key -set_serial "$i" \
                -days 30 -extfile leaf.ext -out leaf.pem
            cat leaf.pem inter.pem >"certs/n$i.test.cert.pem"
            echo "n$i.test" >>names
        done
        chmod 644 certs/*
        echo n0.test >name
    ) 2>"$DIR/openssl.log" || { cat "$DIR/openssl.log" >&2; exit 1; }
}

# The server block for a way.
server_of() {
    local listen="listen $ADDR ssl;" c=$DIR/certs cache=
    case $1 in
        static)
            echo "server { $listen ssl_certificate $c/n0.test.cert.pem;
                ssl_certificate_key $c/n0.test.key.pem; }" ;;
        blocks)
            for ((i = 0; i < NAMES; i++)); do
                echo "server { $listen server_name n$i.test;
                    ssl_certificate $c/n$i.test.cert.pem;
                    ssl_certificate_key $c/n$i.test.key.pem; }"
            done ;;
        variable)
            echo "server { $listen ssl_certificate $c/\$ssl_server_name.cert.pem;
                ssl_certificate_key $c/\$ssl_server_name.key.pem; }" ;;
        ours | first)
            # With a cache of one set, each handshake for another name is the first for its set.
            [[ $1 == ours ]] || cache="worker_cache=1 valid=off"
            echo "rust_shared_cert_zone zone=certs:16m $cache
                cert=$c/\$ssl_server_name.cert.pem key=$c/\$ssl_server_name.key.pem;
                server { $listen rust_shared_cert certs; }" ;;
    esac
}

# Writes the configuration for a way: one process, so that it can be measured as one.
configure() {
    {
        [[ $1 != ours && $1 != first ]] || echo "load_module $MODULE;"
        echo "daemon off; master_process off; pid $DIR/$1.pid; error_log $DIR/$1.log warn;"
        echo "events { worker_connections 4096; } http { access_log off;"
        echo "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;"
        for path in client_body proxy fastcgi uwsgi scgi; do
            echo "${path}_temp_path $DIR/temp;"
        done
        server_of "$1"
        echo "}"
    } >"$DIR/$1.conf"
}

wait_ready() {
    for ((n = 0; n < 300; n++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "no server" >&2
    exit 1
}
