# Server CPU of a full handshake as a ratio to a static certificate of the same round. Sourced, not run.

ROUNDS=${ROUNDS:-30}
HANDSHAKES=${HANDSHAKES:-500}
NAMES=${NAMES:-1000}
KEYS=${KEYS:-p256 rsa}
PROTOCOLS=${PROTOCOLS:-tls12 tls13}
# Which names clients ask for: `one`, `uniform`, `zipf`.
PICKS=${PICKS:-one uniform}
IN_FLIGHT=${IN_FLIGHT:-4}

declare -A SAYS=([p256]='P-256' [rsa]='RSA-2048' [tls12]='TLS 1.2' [tls13]='TLS 1.3')

# The cases that have a meaning: `static` knows one name only.
cases() {
    local peer pick
    for peer in $PEERS; do
        for pick in $PICKS; do
            [[ $peer =~ ^(static|again)$ && $pick != one ]] || echo "$peer:$pick"
        done
    done
}

# load PEER PORT KEY PICK COUNT IN_FLIGHT PROTOCOL: prints the client's line.
load() {
    taskset -c "1-$(($(nproc) - 1))" "$HANDSHAKES_CLIENT" load "127.0.0.1:$2" "$DIR/$3/list" \
        "${@:4}" ||
        die "$1: handshakes failed; its last lines: $(tail -n 3 "$DIR/$1.log")"
}

names_of() {
    case $1 in
        one) echo 1 ;;
        uniform) echo "$NAMES, uniform" ;;
        zipf) echo "$NAMES, Zipf" ;;
    esac
}

# Starts all servers for a key type, and asks each for all its names.
start_all() {
    local key=$1 peer pid next=$PORT
    for peer in $PEERS; do
        start_peer "$peer" "$DIR/$key" "$next" "$NAMES"
        [[ $peer != pushed ]] || push_all "$peer" "$DIR/$key" "$NAMES"
        first[$peer]=$pid port[$peer]=$next
        serving[$peer]=$(serving_process "$pid")
        next=$((next + 1))
        if [[ $peer =~ ^(static|again)$ ]]; then
            load "$peer" "${port[$peer]}" "$key" one 100 1 tls13 >/dev/null
        else
            load "$peer" "${port[$peer]}" "$key" each "$NAMES" "$IN_FLIGHT" tls13 >/dev/null
        fi
    done
}

# One case of a round: KEY PROTOCOL PEER PICK ROUND, CPU in ns, p50 and p99 in us.
measure() {
    local key=$1 protocol=$2 peer=${3%:*} pick=${3#*:} before after line
    before=$(cpu_ns "${serving[$peer]}")
    line=$(load "$peer" "${port[$peer]}" "$key" "$pick" "$HANDSHAKES" "$IN_FLIGHT" "$protocol")
    after=$(cpu_ns "${serving[$peer]}")
    line=${line##*p50_us=}
    echo "$key $protocol $peer $pick $4 $(((after - before) / HANDSHAKES)) ${line/p99_us=/}"
}

measure_ratios() {
    local -A first port serving
    local key protocol round i all peer
    mapfile -t all < <(cases)
    for key in $KEYS; do
        start_all "$key"
        for ((round = 0; round < ROUNDS; round++)); do
            say "${SAYS[$key]}: round $((round + 1)) of $ROUNDS"
            for protocol in $PROTOCOLS; do
                # Each round begins with another one, so that none has a fixed neighbour in time.
                for ((i = 0; i < ${#all[@]}; i++)); do
                    measure "$key" "$protocol" "${all[(i + round) % ${#all[@]}]}" "$round"
                done
            done
        done >>"$DIR/rounds"
        for peer in $PEERS; do
            echo "$key $peer $(resident_kib "${serving[$peer]}")" >>"$DIR/resident"
            stop_peer "${first[$peer]}"
        done
    done
}

# The middle of what comes on stdin.
median() { sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : "-" }'; }

# Column COLUMN of the rounds of a case, in their order.
column() {
    awk -v c="$1" -v k="$2" -v t="$3" -v p="${4%:*}" -v n="${4#*:}" \
        '$1 == k && $2 == t && $3 == p && $4 == n { print $5, $c }' "$DIR/rounds" | sort -n |
        cut -d' ' -f2
}

# Instructions of a case as a ratio to static, where they were counted.
instructions_ratio() {
    awk -v k="$1" -v t="$2" -v p="${3%:*}" -v n="${3#*:}" '
        $1 == k && $2 == t && $3 == "static" { base = $5 }
        $1 == k && $2 == t && $3 == p && $4 == n { own = $5 }
        END { if (base && own) printf "%.3f", own / base; else print "-" }
    ' "$DIR/instructions"
}

# The median of the ratios and, by order statistics, the bounds that the true median is between with a
# confidence of 95 %: the kth and the kth last value, with k - 1 the most of n tosses of a coin that
# come up heads with a probability of 2.5 % at most. There are none for less than six rounds.
median_and_bounds() {
    sort -n | awk '
        { v[NR] = $1 }
        END {
            term = 2 ^ -NR
            while (2 * (sum + term) <= 0.05) { sum += term; k++; term *= (NR - k + 1) / k }
            m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
            if (k) printf "%.3f | %.3f to %.3f", m, v[k], v[NR + 1 - k]
            else printf "%.3f | (%.3f to %.3f)", m, v[1], v[NR]
        }'
}

print_ratios() {
    local key protocol case
    for key in $KEYS; do
        for protocol in $PROTOCOLS; do
            printf '### %s, %s\n\n' "${SAYS[$key]}" "${SAYS[$protocol]}"
            printf 'Static: %s us of CPU for a handshake; %s rounds of %s.\n\n' \
                "$(($(column 6 "$key" "$protocol" static:one | median) / 1000))" \
                "$ROUNDS" "$HANDSHAKES"
            echo '| server | names | CPU | 95 % | instructions | p50, us | p99, us | RSS, KiB |'
            echo '|---|---|---|---|---|---|---|---|'
            while read -r case; do
                print_case "$key" "$protocol" "$case"
            done < <(cases)
            echo
        done
    done
    cat <<'EOF'
CPU and instructions are ratios to static: of CPU the median of the ratios of each round, and the
bounds of that median by order statistics (in brackets: least and largest, of too few rounds for
bounds). p50 and p99 of a handshake as the client sees it: medians of the rounds. RSS of
the worker after all of it.
EOF
}

print_case() {
    local key=$1 protocol=$2 case=$3
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "${PEER_SAYS[${case%:*}]}" \
        "$(names_of "${case#*:}")" \
        "$(paste <(column 6 "$key" "$protocol" "$case") \
            <(column 6 "$key" "$protocol" static:one) | awk '{ print $1 / $2 }' |
            median_and_bounds)" \
        "$(instructions_ratio "$key" "$protocol" "$case")" \
        "$(column 7 "$key" "$protocol" "$case" | median)" \
        "$(column 8 "$key" "$protocol" "$case" | median)" \
        "$(awk -v k="$key" -v p="${case%:*}" '$1 == k && $2 == p { print $3 }' "$DIR/resident")"
}
