#!/bin/sh
# Installs the command throng of a release for Linux or macOS, for the user who runs it:
# sh install.sh [RELEASE], where RELEASE is the address that holds the archives.
set -eu
release=${1:-${THRONG_RELEASE:-@RELEASE@}}
version=${THRONG_VERSION:-@VERSION@}
place=${THRONG_INSTALL:-$HOME/.local}

case "$(uname -s)" in
    Linux) system=unknown-linux-musl ;;
    Darwin) system=apple-darwin ;;
    *) echo "throng-installer: there is no archive for $(uname -s)" >&2; exit 1 ;;
esac
case "$(uname -m)" in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) echo "throng-installer: there is no archive for $(uname -m)" >&2; exit 1 ;;
esac
name=throng-$version-$machine-$system

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
curl -fsSL "$release/$name.tar.gz" -o "$name.tar.gz"
curl -fsSL "$release/$name.tar.gz.sha256" -o "$name.tar.gz.sha256"
if command -v sha256sum > /dev/null; then
    sha256sum -c "$name.tar.gz.sha256" > /dev/null
else
    shasum -a 256 -c "$name.tar.gz.sha256" > /dev/null
fi
tar -xzf "$name.tar.gz"

mkdir -p "$place/bin" "$place/share/man/man1" "$place/share/bash-completion/completions" "$place/share/fish/vendor_completions.d"
cp "$name/throng" "$place/bin/throng.new"
mv "$place/bin/throng.new" "$place/bin/throng"
cp "$name"/man1/*.1 "$place/share/man/man1/"
cp "$name/completions/throng.bash" "$place/share/bash-completion/completions/throng"
cp "$name/completions/throng.fish" "$place/share/fish/vendor_completions.d/"
echo "installed $("$place/bin/throng" --version) in $place/bin"
case ":$PATH:" in
    *":$place/bin:"*) ;;
    *) echo "add it to your path: export PATH=\"$place/bin:\$PATH\"" ;;
esac
