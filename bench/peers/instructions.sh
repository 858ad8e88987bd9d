# Instructions of a full handshake, counted by callgrind: exact whatever else the machine does. Sourced,
# not run.

# A multiple of 32: at every 32nd use of an RSA key OpenSSL renews what blinds it.
COUNTED=${COUNTED:-128}

# Instructions of a process so far. HAProxy's cannot be read while it runs.
instructions() {
    local count
    count=$("${IN_SUITE[@]}" timeout 30 vgdb --pid="$1" -c status internal 2>/dev/null |
        sed -n 's/^events-1: //p')
    [[ $count ]] || die "callgrind does not say how many instructions there were"
    echo "$count"
}

# All cases of a server, with all its names seen before: KEY PROTOCOL PEER PICK INSTRUCTIONS.
count_peer() {
    local key=$1 peer=$2 pid protocol pick before after
    # One process: callgrind counts each for itself.
    start_peer "$peer" "$DIR/$key" "$PORT" "$NAMES" off \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null
    [[ $peer != pushed ]] || push_all "$peer" "$DIR/$key" "$NAMES"
    if [[ ! $peer =~ ^(static|again)$ && $PICKS != one ]]; then
        load "$peer" "$PORT" "$key" each "$NAMES" "$IN_FLIGHT" tls13 >/dev/null
    fi
    for protocol in $PROTOCOLS; do
        while IFS=: read -r _ pick; do
            # What the first handshake of a kind sets up is not the handshake's.
            load "$peer" "$PORT" "$key" one 5 1 "$protocol" >/dev/null
            before=$(instructions "$pid")
            load "$peer" "$PORT" "$key" "$pick" "$COUNTED" "$IN_FLIGHT" "$protocol" >/dev/null
            after=$(instructions "$pid")
            echo "$key $protocol $peer $pick $(((after - before) / COUNTED))"
        done < <(cases | grep "^$peer:")
    done
    stop_peer "$pid"
}

count_instructions() {
    local key peer
    for key in $KEYS; do
        for peer in $PEERS; do
            [[ $peer != haproxy ]] || continue
            say "${SAYS[$key]}: instructions of $peer"
            count_peer "$key" "$peer"
        done
    done >"$DIR/instructions"
}

print_instructions() {
    local key protocol peer pick count
    echo '| key | protocol | server | names | instructions | to static |'
    echo '|---|---|---|---|---|---|'
    while read -r key protocol peer pick count; do
        printf '| %s | %s | %s | %s | %s | %s |\n' "${SAYS[$key]}" "${SAYS[$protocol]}" \
            "${PEER_SAYS[$peer]}" "$(names_of "$pick")" "$count" \
            "$(instructions_ratio "$key" "$protocol" "$peer:$pick")"
    done <"$DIR/instructions"
    cat <<'EOF'

With RSA and many names it is up to 3 % less: OpenSSL renews the blinding of a key at every 32nd use, and here
few keys come to that.

EOF
}
