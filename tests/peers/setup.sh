#!/bin/sh
# Installs what the peer tests talk to, where that is possible without asking anybody: Debian's `kannel`, a sample of clicks, onnxruntime.
# Says why where it is not; the tests then skip with a reason. Never fails.

have_kannel() {
    PATH="$PATH:/usr/sbin"
    command -v bearerbox >/dev/null 2>&1 && command -v smsbox >/dev/null 2>&1
}

give_up() {
    echo "kannel is not installed: $1" >&2
    exit 0
}

sample() {  # of the Open Bandit Dataset; without its dependencies, torch among them
    [ -x .venv/bin/python ] && .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps obp==0.4.1
}
models() {  # of one's own: to make one in a test, and to run it
    [ -x .venv/bin/python ] && .venv/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock onnxruntime onnx
}
models || echo "onnx and onnxruntime are not installed: pip could not get them" >&2
sample || echo "the Open Bandit sample is not installed: pip could not get obp" >&2

have_kannel && exit 0
command -v apt-get >/dev/null 2>&1 || give_up "there is no apt-get here; install bearerbox and smsbox by hand"

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || give_up "this takes root, or sudo without a password"
    as_root="sudo -n"
fi

# The two variables keep Debian's scripts from starting a gateway of their own: SysV's reads the first, systemd's the second.
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 SYSTEMD_OFFLINE=1 \
        apt-get -qq -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

install_kannel() {
    apt install -y --no-install-recommends kannel
}

echo "installing kannel"
install_kannel 2>/dev/null || {  # the package lists may be missing or old
    apt update && install_kannel
} || give_up "apt-get could not get it; see above"
have_kannel || give_up "the package came without bearerbox or smsbox"
exit 0
