#!/bin/bash
# The tests on a machine with AVX-512 that exists as an emulator only: Bochs, as a Skylake-X of one
# core, boots Debian's kernel with nothing but the tests and what they read. Without SUITES those of
# the kernels, each against sums in double; a network of 0.2 GFLOP takes longer than 20 minutes.
#   tests/avx512.sh BINARY [SUITES]     BINARY: run_tests; a pattern for Criterion's --filter
# Needs bochs, busybox-static, cpio, isolinux, xorriso, and once apt-get to download the kernel.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
suites=${2:-kernels/*}
out=$PWD/build/avx512
root=$out/root
disc=$out/disc/isolinux

for tool in bochs busybox cpio xorriso; do
    command -v $tool >/dev/null || {
        echo "avx512: $tool is missing; run tests/deps.sh ci" >&2
        exit 1
    }
done

download_kernel() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | grep -o 'linux-image-[0-9].*') &&
        (cd "$out" && apt-get download -qq -o APT::Sandbox::User=root "$package")
}
if [[ ! -e $out/vmlinuz ]]; then
    mkdir -p "$out"
    # The lists may be none or old.
    download_kernel 2>/dev/null || { apt-get update -qq && download_kernel; }
    dpkg-deb --fsys-tarfile "$out"/linux-image-*.deb | tar -xO --wildcards './boot/vmlinuz-*' >"$out/kernel"
    mv "$out/kernel" "$out/vmlinuz"
fi

rm -rf "$root" "$disc"
mkdir -p "$root"/{bin,dev,proc,tmp,tree/tests} "$disc"
cp /bin/busybox "$binary" "$root/bin/"
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D "$(realpath "$library")" "$root$library"
done
cp -r tests/golden "$root/tree/tests/"
cp -r config "$root/tree/"
printf '%s\n' "$suites" >"$root/suites"
cat >"$root/init" <<'INSIDE'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
exec >/dev/ttyS0 2>&1
cd /tree
grep -q avx512f /proc/cpuinfo || echo "avx512: the emulated machine has no AVX-512"
run_tests --color=never --jobs=1 --filter "$(cat /suites)"
echo "avx512: the tests ended with status $?"
sleep 1
poweroff -f
INSIDE
chmod +x "$root/init"
(cd "$root" && find . | cpio --create --format=newc --quiet | gzip -1) >"$disc/initrd"
cp "$out/vmlinuz" /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$disc/"
# Bochs says that XSAVE's compacted form is as large as the other; Linux then does without AVX.
cat >"$disc/isolinux.cfg" <<'CONFIG'
default linux
label linux
    kernel vmlinuz
    append initrd=initrd console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clearcpuid=xsaves,xsavec
CONFIG
xorriso -as mkisofs -quiet -o "$out/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$out/disc" 2>/dev/null

cat >"$out/bochsrc" <<CONFIG
cpu: model=corei7_skylake_x, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$out/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$out/serial
clock: sync=none
display_library: term
log: $out/bochs.log
panic: action=fatal
CONFIG
# Debian's Bochs starts in its debugger and draws on a terminal.
echo continue >"$out/start"
rm -f "$out/serial"
script -qec "bochs -q -f $out/bochsrc -rc $out/start" /dev/null </dev/null >"$out/screen" || true

tr -d '\r' <"$out/serial" | grep -vE '^\[ +[0-9]|^$|ISOLINUX'
grep -q "the tests ended with status 0" "$out/serial"
! grep -q "has no AVX-512" "$out/serial"
