//! A virtual machine: QEMU, which emulates its processor, with Debian's kernel and BusyBox.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use warren::packet::Mac;

use super::{
    fetched::{once, succeed},
    run, tool,
};

/// Modules of the kernel in the order in which they need each other.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// The first program: it makes the machine's interface `eth0`, then does what it is told, line by line.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
stty -echo -onlcr
for module in MODULES; do [ ! -e /lib/$module.ko ] || insmod /lib/$module.ko; done
ip link set lo up
ip link set eth0 up
echo "<$?>"
while read -r line; do eval "$line"; echo "<$?>"; done
"#;

/// What the DHCP client does with what it is told.
const BOUND: &str = r#"#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip link set $interface mtu $mtu
ip route add default via $router
"#;

/// Bytes of `/block` in every machine, which it sends as often as it is asked to.
pub const BLOCK: usize = 1 << 20;

/// A running machine, killed when dropped.
pub struct Machine {
    qemu: Child,
    input: ChildStdin,
    output: Arc<Mutex<String>>,
    /// How much of the output has been read.
    read: usize,
    _folder: TempDir,
}

/// Who makes the vhost-user socket.
#[derive(Clone, Copy)]
pub enum Socket {
    Machine,
    Node,
}

impl Machine {
    /// Starts one with so many queue pairs, and as many processors, and waits until it does what it is told.
    #[track_caller]
    pub fn start(socket: &Path, by: Socket, mac: Mac, queues: u16) -> Self {
        let mut machine = Self::boot(socket, by, mac, queues, "");
        machine.booted();
        machine
    }

    /// Starts one; more properties of its device are in `device`, each with a comma before it.
    #[track_caller]
    pub fn boot(socket: &Path, by: Socket, mac: Mac, queues: u16, device: &str) -> Self {
        let (kernel, folder) = (kernel(), TempDir::new().unwrap());
        let initrd = initrd(&kernel, folder.path());
        let side = match by {
            Socket::Machine => "server=on,wait=off",
            Socket::Node => "reconnect=1",
        };
        let mut qemu = Command::new(tool("qemu-system-x86_64", "qemu-system-x86"))
            .args(["-machine", "q35,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-m", "128", "-object", "memory-backend-memfd,id=mem,size=128M,share=on"])
            .args(["-smp", &queues.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-append", "console=ttyS0 loglevel=1 panic=-1 no_timer_check"])
            .args(["-chardev", &format!("socket,id=vhost,path={},{side}", socket.display())])
            .args(["-netdev", &format!("vhost-user,id=eth0,chardev=vhost,queues={queues}")])
            // Without MSI-X, over which QEMU 7.2 stumbles where it emulates the processor.
            .args([
                "-device",
                &format!("virtio-net-pci,netdev=eth0,mac={mac},mq=on,vectors=0,romfile={device}"),
            ])
            .arg("-kernel")
            .arg(kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(initrd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, mut pipe) = (qemu.stdin.take().unwrap(), qemu.stdout.take().unwrap());
        let output = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&output);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut bytes) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Self { qemu, input, output, read: 0, _folder: folder }
    }

    /// Waits until it does what it is told.
    #[track_caller]
    pub fn booted(&mut self) {
        self.wait(Duration::from_secs(120));
    }

    /// Gets its address by DHCP.
    #[track_caller]
    pub fn dhcp(&mut self) -> String {
        self.sh("udhcpc -i eth0 -f -n -q -t 10 -T 1 -O mtu -s /bin/bound 2>/dev/null");
        self.sh("ip -4 -o addr show eth0 | sed 's/.*inet //; s/ .*//'")
    }

    /// Has its shell run a line; returns what it prints.
    #[track_caller]
    pub fn sh(&mut self, line: &str) -> String {
        self.sh_for(line, Duration::from_secs(60))
    }

    /// The same for what takes longer than a minute.
    #[track_caller]
    pub fn sh_for(&mut self, line: &str, limit: Duration) -> String {
        self.tell(line);
        self.wait(limit)
    }

    /// Has its shell run a line, whose end [`Machine::wait`] waits for.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits until the line has been run, with success; returns what it printed.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let output = self.output.lock().unwrap().clone();
            let new = &output[self.read..];
            // `<0>` on a line of its own.
            let end = new.match_indices('<').find_map(|(at, _)| {
                let (code, rest) = new[at + 1..].split_once(">\n")?;
                Some((at, code.parse::<u8>().ok()?, new.len() - rest.len()))
            });
            if let Some((at, code, end)) = end {
                self.read += end;
                assert_eq!(code, 0, "in the machine: {}", &new[..at]);
                return new[..at].trim_end().to_owned();
            }
            let ended = self.qemu.try_wait().unwrap();
            assert!(ended.is_none(), "QEMU ended: {ended:?}\n{output}");
            assert!(Instant::now() < deadline, "the machine is not done after {limit:?}:\n{output}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// One of its interface's counters, such as `tx_packets`: a run of segments is one packet there.
    #[track_caller]
    pub fn counter(&mut self, name: &str) -> u64 {
        self.sh(&format!("cat /sys/class/net/eth0/statistics/{name}")).trim().parse().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the machine's console\n{}", self.output.lock().unwrap());
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// What every machine has in `/block`.
pub fn block() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..BLOCK).map(|_| next()).collect()
}

/// A folder with Debian's kernel for clouds, `vmlinuz`, and its modules. It is downloaded once.
#[track_caller]
fn kernel() -> PathBuf {
    // On Ubuntu, what is a module in Debian is in the kernel.
    let script = r#"set -e
        newest() { apt-cache depends --important "$1" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1; }
        find_package() { for name in linux-image-cloud-amd64 linux-image-virtual; do newest $name | grep . && return; done; }
        package=$(find_package) || { apt-get update -q; package=$(find_package); }
        apt-get download -q "$package" || { apt-get update -q; apt-get download -q "$package"; }
        dpkg-deb -x "$package"_*.deb .
        rm "$package"_*.deb
        ln -s boot/vmlinuz-* vmlinuz
        find lib usr/lib -name '*.ko.xz' -exec xz -d {} + 2>/dev/null || true"#;
    once("debian-kernel", |folder| succeed(Command::new("sh").args(["-c", script]).current_dir(folder)))
}

/// Makes the machine's first file system, a compressed archive.
#[track_caller]
fn initrd(kernel: &Path, folder: &Path) -> PathBuf {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("this test needs BusyBox: apt-get install busybox-static");
    let root = folder.join("root");
    for name in ["bin", "dev", "lib", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for module in MODULES {
        let file = format!("{module}.ko");
        let found = run(Command::new("find").arg(kernel).args(["-name", &file])).ok();
        if !found.is_empty() {
            fs::copy(found.trim(), root.join("lib").join(file)).unwrap();
        }
    }
    fs::write(root.join("block"), block()).unwrap();
    for (name, text) in [("init", INIT.replace("MODULES", &MODULES.join(" "))), ("bin/bound", BOUND.into())] {
        fs::write(root.join(name), text).unwrap();
        run(Command::new("chmod").arg("755").arg(root.join(name))).ok();
    }
    let pack = format!("find . | {busybox} cpio -o -H newc 2>/dev/null >../initrd");
    run(Command::new("sh").args(["-c", &pack]).current_dir(&root)).ok();
    folder.join("initrd")
}
