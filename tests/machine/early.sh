#!/bin/busybox sh
# The first process of the machine: makes its root of the host's, which it cannot write, and its own disk above, and goes there.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module" || echo "machine: $module does not load"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || poweroff -f
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.2; done
mount -t ext4 /dev/vda /own || poweroff -f
mkdir -p /own/upper /own/work /own/tmp
chmod 1777 /own/tmp
mount -t overlay -o lowerdir=/host,upperdir=/own/upper,workdir=/own/work root /new || poweroff -f

place=$(sed 's/.*wadi.place=\([^ ]*\).*/\1/' /proc/cmdline)
. "/new$place/words.sh"
cd /new || poweroff -f
# Where tests put their files (TMPDIR): not on the overlay, for those have a greatest depth, and sandboxes lay more above.
mkdir machine
mount --bind /own/tmp machine
mkdir -p "lib/modules"
ln -sfn "$MODULES" "lib/modules/${MODULES##*/}"
# What the kernel asks for when it lacks a module, where the host has none of it.
[ -e sbin/modprobe ] || printf '#!/bin/sh\nexec busybox modprobe "$@"\n' > sbin/modprobe
chmod +x sbin/modprobe
echo machine > etc/hostname
mount --move /dev dev
mount --move /proc proc
mount --move /sys sys
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec switch_root /new /bin/sh "$ROOT/tests/machine/init.sh" "$PLACE"
