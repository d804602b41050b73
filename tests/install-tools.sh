#!/usr/bin/env bash
# Installs the Debian packages that the tests use as peers, where this user may; otherwise says what is missing.
set -u
missing=()
for package in "$@"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing test tools: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null; then exit 0; fi
fi
echo "not installed: ${missing[*]} (tests that need them are skipped and named; as root: apt-get install ${missing[*]})"
# CI asks for every tool: there a missing one is a failure.
[ "${TRIAGE_REQUIRE_EXTERNAL:-0}" != 1 ]
