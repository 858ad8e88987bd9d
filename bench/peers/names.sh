# What start, reload and rotation take with many names, and how much memory. Sourced, not run.

COUNTS=${COUNTS:-1 1000 10000 100000}
REPEATS=${REPEATS:-3}
MANY_PEERS=${MANY_PEERS:-lazy startup state blocks haproxy}
# Static blocks of more names than this take minutes and gigabytes.
BLOCKS_MOST=${BLOCKS_MOST:-10000}

# ms until the first handshake is served. Here and below, $c, $pid and what is measured are the caller's.
time_start() {
    local peer=$1 count=$2 started
    start_peer "$peer" "$c" "$PORT" "$count"
    until "$HANDSHAKES_CLIENT" load "127.0.0.1:$PORT" "$c/first" one 1 1 tls13 >/dev/null 2>&1; do
        sleep 0.01
    done
    took=$(($(now_ms) - started))
}

reload_signal() { if [[ $1 == haproxy ]]; then echo USR2; else echo HUP; fi; }

# ms until the worker of the former configuration, which has no connections, has ended.
time_reload() {
    local peer=$1 old start
    old=$(serving_process "$pid")
    start=$(now_ms)
    kill -"$(reload_signal "$peer")" "$pid"
    until not_running "$old"; do
        (($(now_ms) - start < 600000)) || die "$peer: the old worker does not end"
        sleep 0.01
    done
    took=$(($(now_ms) - start))
}

http_request() {
    printf '%s HTTP/1.0\r\nHost: localhost\r\n' "$1"
    if [[ ${2-} ]]; then printf 'Content-Length: %s\r\n' "$(stat -c %s "$2")"; fi
    printf '\r\n'
    if [[ ${2-} ]]; then cat "$2"; fi
}

# Of a rotation of n0.test to the pair that is in a directory: what comes before the trigger, and the
# trigger, both as the client takes them.
trigger_of() {
    local peer=$1 to=$2 file
    prepare=true
    # Files by rename, as tools for renewals replace them.
    for file in n0.test.cert.pem n0.test.key.pem; do
        prepare+=" && cp $to/$file $c/$file.new && mv $c/$file.new $c/$file"
    done
    case $peer in
        lazy)
            http_request 'GET /clear' >"$DIR/request"
            trigger=(send "$DIR/$peer.sock" "$DIR/request") ;;
        state)
            http_request 'PUT /certs/sets/n0.test' "$to/bundles/n0.test.pem" >"$DIR/request"
            trigger=(send "$DIR/$peer.sock" "$DIR/request") ;;
        haproxy)
            printf 'set ssl cert %s <<\n%s\n\n' "$c/bundles/n0.test.pem" \
                "$(cat "$to/bundles/n0.test.pem")" >"$DIR/request"
            printf 'commit ssl cert %s\n' "$c/bundles/n0.test.pem" >"$DIR/commit"
            trigger=(send "$DIR/haproxy.sock" "$DIR/request" "$DIR/commit") ;;
        *) trigger=(hup "$pid") ;;
    esac
}

# Of one rotation: us until the answer, and until the last handshake with the old certificate.
time_rotation() {
    local peer=$1 from=$2 to=$3 line prepare
    local -a trigger
    trigger_of "$peer" "$to"
    line=$(taskset -c "1-$(($(nproc) - 1))" "$HANDSHAKES_CLIENT" rotation "127.0.0.1:$PORT" n0.test \
        "$from/n0.test.cert.pem" "$to/n0.test.cert.pem" "$prepare" "${trigger[@]}") ||
        die "$peer: the rotation failed; its last lines: $(tail -n 3 "$DIR/$peer.log")"
    answered=$(sed 's/.* answered_us=\([0-9]*\).*/\1/' <<<"$line")
    last_old=$(sed 's/.* last_old_us=\([0-9]*\).*/\1/' <<<"$line")
    [[ ${trigger[0]} != hup ]] || answered=-
}

zone_bytes() {
    local answer
    answer=$(curl -q -sS --fail --unix-socket "$DIR/$peer.sock" http://localhost/certs/)
    sed 's/.*"bytes_used":\([0-9]*\).*/\1/' <<<"$answer"
}

# One row.
measure_names() {
    local peer=$1 count=$2 c=$DIR/many pid took answered last_old i from to zone=-
    local starts=() reloads=() answers=() lasts=() resident
    say "$peer: $count names"
    if [[ $peer == state ]]; then
        start_peer state "$c" "$PORT" "$count"
        push_all state "$c" "$count"
        stop_peer "$pid"
    fi
    for ((i = 0; i < REPEATS; i++)); do
        time_start "$peer" "$count"
        starts+=("$took")
        ((i == REPEATS - 1)) || stop_peer "$pid"
    done
    for ((i = 0; i < REPEATS; i++)); do
        time_reload "$peer"
        reloads+=("$took")
    done
    from=$DIR/was to=$DIR/fresh
    for ((i = 0; i < REPEATS; i++)); do
        time_rotation "$peer" "$from" "$to"
        answers+=("$answered") lasts+=("$last_old")
        read -r from to <<<"$to $from"
    done
    # Back to what all expect.
    [[ $from == "$DIR/was" ]] || time_rotation "$peer" "$from" "$to"
    load "$peer" "$PORT" many each "$count" "$IN_FLIGHT" tls13 >/dev/null
    resident=$(resident_kib "$(serving_process "$pid")")
    [[ $peer =~ ^(blocks|haproxy)$ ]] || zone=$(($(zone_bytes) / count))
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "${PEER_SAYS[$peer]}" "$count" \
        "$(middle "${starts[@]}")" "$(middle "${reloads[@]}")" "$(middle_us "${answers[@]}")" \
        "$(middle_us "${lasts[@]}")" "$resident" "$zone"
    stop_peer "$pid"
    rm -rf "$c/state"
}

middle() { printf '%s\n' "$@" | median; }

middle_us() {
    if [[ $1 == - ]]; then echo -; else middle "$@" | awk '{ printf "%.1f", $1 / 1000 }'; fi
}

measure_many() {
    local count peer
    printf '| server | names | start, ms | reload, ms | answer, ms | last old, ms '
    printf '| RSS, KiB | zone, bytes a name |\n|---|---|---|---|---|---|---|---|\n'
    for count in $COUNTS; do
        rm -rf "$DIR/many" "$DIR/was" "$DIR/fresh"
        make_certificates p256 "$count" many
        head -n 1 "$DIR/many/list" >"$DIR/many/first"
        make_certificates p256 1 fresh
        mkdir -p "$DIR/was/bundles"
        cp "$DIR/many"/n0.test.* "$DIR/was/"
        cp "$DIR/many/bundles/n0.test.pem" "$DIR/was/bundles/"
        sleep 3 # files that were written a moment ago are read twice
        for peer in $MANY_PEERS; do
            if [[ $peer == blocks ]] && ((count > BLOCKS_MOST)); then
                printf '| %s | %s | not measured ||||||\n' "${PEER_SAYS[blocks]}" "$count"
            else
                measure_names "$peer" "$count"
            fi
        done
    done
    cat <<'EOF'

P-256; medians. Start: until the first handshake is served (with `state=`, from its directory). Reload:
until the worker of the former configuration has ended, which has no connections. Answer and last old, of the
rotation of one name: from the trigger (`/clear`, a push, HAProxy's `set ssl cert` and `commit ssl cert`, else
a reload) to its answer, and to the end of the last handshake with the old certificate; 0: there was none. RSS of the
worker after a handshake for each name.
EOF
}
