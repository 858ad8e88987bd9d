# A Debian suite in a folder, in which something is built and run. Sourced, not run.

# Mount points in the folder.
INSIDE=/opt/suite

# use_suite SUITE FOLDER: which one the functions below are about. Before a command, ${IN_SUITE[@]} runs it
# in there, as the same process.
use_suite() {
    SUITE=$1
    FOLDER=$2
    IN_SUITE=(chroot "$FOLDER" /usr/bin/env -i HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive
        CARGO_HOME="$INSIDE/cargo" RUSTUP_HOME="$INSIDE/rustup"
        PATH="$INSIDE/cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

# The mirror that this machine's own suite comes from; debootstrap has a default where there is none.
mirror() {
    local codename
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" |
        head -n 1
}

make_suite() {
    local scripts=/usr/share/debootstrap/scripts script
    need_packages debootstrap
    script=$scripts/$SUITE
    # An older debootstrap does not know the suite; all are made as sid is.
    [[ -e $script ]] || script=$scripts/sid
    say "making $FOLDER"
    mkdir -p "$(dirname "$FOLDER")"
    rm -rf "$FOLDER.new"
    debootstrap --variant=minbase "$SUITE" "$FOLDER.new" "$(mirror)" "$script" \
        >"$FOLDER.log" 2>&1 || die "debootstrap failed: $FOLDER.log"
    # Whom this machine trusts beside the usual ones, as where downloads go through a proxy of its owner.
    cp -r /usr/local/share/ca-certificates "$FOLDER.new/usr/local/share/" 2>/dev/null || true
    mv "$FOLDER.new" "$FOLDER"
}

# A snapshot's Release file may have expired; its signature is checked all the same.
update_suite() {
    local log=$FOLDER.log
    "${IN_SUITE[@]}" apt-get update >"$log" 2>&1 && return
    grep -q 'is expired' "$log" || die "apt-get update failed: $log"
    echo 'Acquire::Check-Valid-Until "false";' >"$FOLDER/etc/apt/apt.conf.d/expired"
    "${IN_SUITE[@]}" apt-get update >"$log" 2>&1 || die "apt-get update failed: $log"
}

# need_suite_packages PACKAGE...
need_suite_packages() {
    local package missing=()
    for package in "$@"; do
        "${IN_SUITE[@]}" dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    cp /etc/resolv.conf "$FOLDER/etc/resolv.conf"
    # No server is started by its package.
    printf '#!/bin/sh\nexit 101\n' >"$FOLDER/usr/sbin/policy-rc.d"
    chmod 755 "$FOLDER/usr/sbin/policy-rc.d"
    update_suite
    "${IN_SUITE[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >"$FOLDER.log" 2>&1 ||
        die "apt-get install failed: $FOLDER.log"
}

mount_in() {
    mkdir -p "$1" "$FOLDER$2"
    mount --bind "$1" "$FOLDER$2"
}

# Needs a mount namespace of its own: what is mounted ends with it, however that comes.
mount_suite() {
    mount -t proc proc "$FOLDER/proc"
    mount --rbind /dev "$FOLDER/dev"
    mkdir -p "$ROOT/build" "$ROOT/target"
    mount_in "$ROOT" "$INSIDE/src"
    # What is built for the suite is not for this machine.
    mount_in "$FOLDER$INSIDE/build" "$INSIDE/src/build"
    mount_in "$FOLDER$INSIDE/target" "$INSIDE/src/target"
    mount_in "${CARGO_HOME:-$HOME/.cargo}" "$INSIDE/cargo"
    mount_in "${RUSTUP_HOME:-$HOME/.rustup}" "$INSIDE/rustup"
}

# prepare_suite PACKAGE...: the suite with these, and with our module: $SUITE_MODULE, as seen in there.
prepare_suite() {
    need_cargo
    [[ -x $FOLDER/usr/bin/dpkg ]] || make_suite
    mount_suite
    need_suite_packages "${SYSTEM_PACKAGES[@]}" "$@"
    "${IN_SUITE[@]}" "$INSIDE/src/scripts/build" system >"$FOLDER.log" 2>&1 ||
        die "scripts/build system failed: $FOLDER.log"
    SUITE_MODULE=$INSIDE/build/system/$MODULE
}
