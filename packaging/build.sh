#!/bin/sh
# Build hyperdrift_<version>_all.deb: `build.sh PYTHON OUT`, from the root of the source.
# The package holds our wheel and the pinned list; its environment is made on the host, by
# the system's Python, because wheels of numpy and others fit one version of Python only.
set -eu
python=$1 out=$2
version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
umask 022
chmod 755 "$tree"

share=$tree/opt/hyperdrift/share
client=$tree/usr/share/hyperdrift
mkdir -p "$share/doc/hyperdrift" "$client" "$tree/etc/hyperdrift" "$tree/usr/bin" "$tree/DEBIAN" \
    "$tree/lib/systemd/system" "$tree/usr/lib/sysusers.d" "$tree/usr/lib/tmpfiles.d"
"$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$share" .
"$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$client" ./client
rm -rf build client/build
cp requirements.txt requirements-service.txt requirements-fleet.txt packaging/prune.sh packaging/size-mib "$share/"
cp -r README.md CHANGELOG.md LICENSE docs/howto/*.md "$share/doc/hyperdrift/"
cp examples/freqtrade/HyperdriftStrategy.py systemd/bot-5m.service systemd/mosquitto.acl systemd/mosquitto.conf "$share/doc/hyperdrift/"
cp -r packaging/prometheus packaging/grafana "$client/"
cp systemd/hyperdrift.service systemd/hyperdrift-dask-scheduler.service systemd/hyperdrift-dask-worker@.service \
    "$tree/lib/systemd/system/"
cp systemd/hyperdrift.sysusers "$tree/usr/lib/sysusers.d/hyperdrift.conf"
cp systemd/hyperdrift.tmpfiles "$tree/usr/lib/tmpfiles.d/hyperdrift.conf"
cp systemd/hyperdrift.toml "$tree/etc/hyperdrift/"
"$python" -m docs.generate.man "$tree" "$version"  # the man page, and completions of bash, zsh and fish
ln -s /opt/hyperdrift/bin/hyperdrift "$tree/usr/bin/hyperdrift"

size=$(($(cut -d' ' -f1 packaging/size-mib) * 1024 + $(du -sk "$tree" | cut -f1)))
sed "s/@VERSION@/$version/; s/@SIZE@/$size/" packaging/control >"$tree/DEBIAN/control"
echo /etc/hyperdrift/hyperdrift.toml >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "packaging/$script" "$tree/DEBIAN/$script"
done
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$tree" "$out/hyperdrift_${version}_all.deb"
