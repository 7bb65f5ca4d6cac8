#!/bin/sh
# Installs the shared libraries that Python wheels expect on Debian 12 and Ubuntu 24.04, or says the line to type.
set -eu

missing=""
need() { ldconfig -p 2>/dev/null | grep -q "$1" || missing="$missing $2"; }
PATH="$PATH:/sbin:/usr/sbin"
need libGL.so.1 libgl1
need libEGL.so.1 libegl1
need libEGL_mesa.so.0 libegl-mesa0
need libgomp.so.1 libgomp1
need libusb-1.0.so.0 libusb-1.0-0
need libX11.so.6 libx11-6
need libglib-2.0.so.0 libglib2.0-0
# The page's tests drive a browser: wished, not needed. Ubuntu has Chromium as a snap alone; without one they are skipped.
wished=""
if grep -qs '^ID=debian' /etc/os-release && ! command -v chromium >/dev/null; then wished=" chromium"; fi
[ -n "$missing$wished" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Please install with your package manager the equivalents of:$missing" >&2
    exit 0
fi
line="apt-get update && apt-get install -y --no-install-recommends$missing"
install() { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; }
if [ "$(id -u)" = 0 ]; then
    echo "Installing system packages:$missing$wished"
    [ -z "$missing" ] || install $missing >/dev/null
    [ -z "$wished" ] || install $wished >/dev/null 2>&1 || echo "Without$wished: the page's browser tests are skipped." >&2
elif [ -z "$missing" ]; then
    echo "To run the page's browser tests too: sudo apt-get install$wished" >&2
elif sudo -n true 2>/dev/null; then
    echo "Installing system packages:$missing"
    sudo -n sh -c "$line" >/dev/null
else
    echo "These system packages are missing. Type:" >&2
    echo "    sudo sh -c '$line'" >&2
    exit 1
fi
