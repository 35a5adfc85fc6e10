//! Machines made up in a folder, good and bad ones.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{rights::Rights, *};

/// A machine in a folder.
struct MadeUp(TempDir);

/// Two nodes with four CPUs each; CPUs 2 and 3 of node 0 are isolated, 4 to 7 are on node 1.
impl MadeUp {
    fn good() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for (path, text) in [
            ("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu aes avx2 bmi2 constant_tsc nonstop_tsc\n"),
            (
                "/proc/self/limits",
                "Max locked memory         unlimited            unlimited            bytes\n",
            ),
            ("/proc/self/cgroup", "0::/system.slice/warren.service\n"),
            ("/proc/swaps", "Filename Type Size Used Priority\n"),
            ("/proc/sys/kernel/numa_balancing", "0\n"),
            ("/sys/fs/cgroup/cpuset.cpus.effective", "0-7\n"),
            ("/sys/devices/system/cpu/online", "0-7\n"),
            ("/sys/devices/system/cpu/isolated", "2-3\n"),
            ("/sys/devices/system/cpu/nohz_full", "2-3\n"),
            ("/sys/devices/system/node/online", "0-1\n"),
            ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("/sys/devices/system/node/node1/cpulist", "4-7\n"),
            ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("/sys/bus/pci/drivers/vfio-pci/bind", ""),
            ("/dev/net/tun", ""),
        ] {
            this.write(path, text);
        }
        this.process(fs::metadata(this.0.path()).unwrap().uid(), "0000000000003000", "0-1,4-7");
        for cpu in 0..8 {
            this.write(
                &format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
                "performance\n",
            );
            let siblings = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            this.write(&siblings, &format!("{cpu}\n"));
        }
        this.hugepages("/sys/kernel/mm/hugepages", 2048);
        this.hugepages("/sys/devices/system/node/node0/hugepages", 1024);
        this.hugepages("/sys/devices/system/node/node1/hugepages", 1024);
        this.card("0000:01:00.0", "vfio-pci", 0, "11");
        this.write("/dev/vfio/11", "");
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Who this process is, what it may do, and where it runs.
    fn process(&self, user: u32, capabilities: &str, cpus: &str) {
        let ids = format!("Uid:\t{user} {user} {user} {user}\nGid:\t1 1 1 1\nGroups:\t27 1\n");
        let text = format!("{ids}CapEff:\t{capabilities}\nCpus_allowed_list:\t{cpus}\n");
        self.write("/proc/self/status", &text);
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(to, path).unwrap();
    }

    fn hugepages(&self, folder: &str, free: u64) {
        for file in ["nr_hugepages", "free_hugepages"] {
            self.write(&format!("{folder}/hugepages-2048kB/{file}"), &format!("{free}\n"));
        }
    }

    fn card(&self, address: &str, driver: &str, node: i32, group: &str) {
        let device = format!("/sys/bus/pci/devices/{address}");
        self.write(&format!("{device}/numa_node"), &format!("{node}\n"));
        self.link(&format!("{device}/driver"), &format!("../../drivers/{driver}"));
        self.link(&format!("{device}/iommu_group"), &format!("../../../kernel/iommu_groups/{group}"));
        self.write(&format!("/sys/kernel/iommu_groups/{group}/devices/{address}"), "");
    }

    fn machine(&self) -> Machine {
        Machine::at(self.0.path())
    }

    fn examine(&self, config: &str) -> Vec<Finding> {
        examine(&self.machine(), Some(&host(config)))
    }

    /// The only finding that is worse than a note.
    fn only(&self, config: &str) -> Finding {
        let findings = self.examine(config);
        let bad: Vec<_> = findings.into_iter().filter(|finding| finding.level >= Level::Warning).collect();
        match bad.as_slice() {
            [finding] => finding.clone(),
            others => panic!("{others:#?}"),
        }
    }
}

fn host(ports: &str) -> HostConfig {
    let text = format!("host = \"h\"\nstate = \"s\"\n{ports}");
    HostConfig::parse(&text, Path::new("/nonexistent")).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

const UPLINK: &str = r#"
[[port]]
name = "uplink"
role = "uplink"
device = "0000:01:00.0"
address = "192.0.2.1/24"
"#;

/// A level, a subject, a part of what was found, and a part of what mends it.
#[track_caller]
fn assert_is(finding: &Finding, level: Level, subject: &str, found: &str, fix: &str) {
    assert_eq!((finding.level, finding.subject.as_str()), (level, subject), "{finding}");
    assert!(finding.found.contains(found), "{finding}");
    assert!(finding.fix.as_ref().is_some_and(|text| text.contains(fix)), "{finding}");
    assert!(finding.why.is_some(), "{finding}");
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    let findings = MadeUp::good().examine(UPLINK);
    let bad: Vec<_> = findings.iter().filter(|finding| finding.level > Level::Note).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let subjects = findings.iter().map(|finding| finding.subject.as_str()).collect::<Vec<_>>();
    for subject in ["hugepages", "workers' CPUs", "NUMA", "IOMMU", "port `uplink`", "locked memory", "swap"] {
        assert!(subjects.contains(&subject), "{subject}: {subjects:?}");
    }
}

#[test]
fn a_machine_that_shows_nothing_gets_notes_and_no_panic() {
    let nothing = MadeUp(tempfile::tempdir().unwrap());
    let findings = examine(&nothing.machine(), None);
    assert!(findings.iter().all(|finding| finding.level <= Level::Note), "{findings:#?}");
    assert!(findings.iter().any(|finding| finding.found.contains("can't be read")), "{findings:#?}");
    nothing.examine(UPLINK);
}

#[test]
fn too_few_hugepages_name_the_command_that_reserves_them() {
    let machine = MadeUp::good();
    machine.hugepages("/sys/kernel/mm/hugepages", 10);
    let fix = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    assert_is(&machine.only(UPLINK), Level::Warning, "hugepages", "20 MiB free", fix);
    // The reserve is what the node needs, no page less: with it, the doctor is content.
    let needed = Node::new(&machine.machine(), &host(UPLINK)).mib();
    machine.hugepages("/sys/kernel/mm/hugepages", needed.div_ceil(2));
    assert!(machine.examine(UPLINK).iter().all(|finding| finding.level <= Level::Note));
}

#[test]
fn hugepages_must_be_on_the_devices_node() {
    let machine = MadeUp::good();
    machine.hugepages("/sys/devices/system/node/node0/hugepages", 0);
    assert_is(&machine.only(UPLINK), Level::Warning, "hugepages", "NUMA node 0", "node0/hugepages");
}

#[test]
fn arguments_of_the_eal_decide_by_themselves() {
    let machine = MadeUp::good();
    let config = format!("eal.args = [\"--huge-dir=/mnt\"]\n{UPLINK}");
    assert_is(&machine.only(&config), Level::Error, "hugepages", "no hugetlbfs", "mount -t hugetlbfs");
    machine.write("/proc/mounts", "none /mnt hugetlbfs rw 0 0\n");
    assert!(machine.examine(&config).iter().all(|finding| finding.level <= Level::Note));
}

#[test]
fn workers_need_cpus_that_are_there_and_permitted() {
    let machine = MadeUp::good();
    let config = format!("workers.cores = [2, 12]\nworkers.idle = \"sleep\"\n{UPLINK}");
    let findings = machine.examine(&config);
    let bad = findings.iter().find(|finding| finding.level == Level::Error).unwrap();
    assert_is(bad, Level::Error, "workers' CPUs", "CPU 12 does not run; these do: 0-7", "workers.cores");
    machine.write("/sys/fs/cgroup/system.slice/cpuset.cpus.effective", "0-2\n");
    let config = format!("workers.cores = [2, 3]\n{UPLINK}");
    assert_is(
        &machine.only(&config),
        Level::Error,
        "workers' CPUs",
        "cgroup, which has: 0-2",
        "AllowedCPUs=",
    );
}

#[test]
fn workers_want_cpus_of_their_own() {
    let machine = MadeUp::good();
    let config = format!("workers.cores = [1]\n{UPLINK}");
    assert_is(&machine.only(&config), Level::Warning, "isolated CPUs", "not isolated: 1", "isolcpus=1");
    machine.write("/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2-3\n");
    machine.write("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "2-3\n");
    assert_is(&machine.only(UPLINK), Level::Warning, "hyperthreads", "CPU 2 and 3", "cpu3/online");
    machine.process(0, "2", "2-3");
    let findings = machine.examine(UPLINK);
    assert!(findings.iter().any(|finding| finding.found.contains("workers have all CPUs")), "{findings:#?}");
}

#[test]
fn a_slow_governor_and_an_old_processor_are_seen() {
    let machine = MadeUp::good();
    machine.write("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave\n");
    let fix = "cpu3/cpufreq/scaling_governor";
    assert_is(&machine.only(UPLINK), Level::Warning, "frequency governor", "`powersave` on CPU 3", fix);
    let machine = MadeUp::good();
    machine.write("/proc/cpuinfo", "flags : aes bmi2 constant_tsc nonstop_tsc\n");
    assert_is(&machine.only(UPLINK), Level::Error, "processor", "no avx2", "-cpu host");
}

#[test]
fn workers_belong_on_the_node_of_the_card() {
    let machine = MadeUp::good();
    machine.write("/sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
    assert_is(&machine.only(UPLINK), Level::Warning, "NUMA", "is on node 1, workers on CPUs 2-3", "4-7");
}

#[test]
fn a_card_must_be_bound_to_vfio_behind_an_iommu() {
    let machine = MadeUp::good();
    machine.card("0000:01:00.0", "ixgbe", 0, "11");
    let findings = machine.examine(UPLINK);
    let port = findings.iter().find(|finding| finding.level == Level::Error).unwrap();
    let fix = "driverctl set-override 0000:01:00.0 vfio-pci";
    assert_is(port, Level::Error, "port `uplink`", "bound to ixgbe", fix);

    let machine = MadeUp::good();
    fs::remove_dir_all(machine.path("/sys/kernel/iommu_groups")).unwrap();
    assert_is(&machine.only(UPLINK), Level::Error, "IOMMU", "off", "intel_iommu=on iommu=pt");
    machine.write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert!(machine.examine(UPLINK).iter().all(|finding| finding.level <= Level::Note));

    let machine = MadeUp::good();
    machine.card("0000:01:00.1", "ixgbe", 0, "11");
    assert_is(
        &machine.only(UPLINK),
        Level::Error,
        "IOMMU group",
        "group 11 with 0000:01:00.1",
        "set-override",
    );

    let machine = MadeUp::good();
    let absent = UPLINK.replace("01:00.0", "05:00.0");
    assert_is(&machine.only(&absent), Level::Error, "port `uplink`", "no PCI device 0000:05:00.0", "lspci");
}

#[test]
fn a_bifurcated_driver_keeps_its_card() {
    let machine = MadeUp::good();
    machine.card("0000:01:00.0", "mlx5_core", 0, "11");
    fs::create_dir_all(machine.path("/sys/bus/pci/devices/0000:01:00.0/net/eth1")).unwrap();
    machine.write("/sys/class/net/eth1/mtu", "1500\n");
    machine.write("/sys/class/net/eth1/operstate", "up\n");
    let fix = "ip link set eth1 mtu 9100";
    assert_is(&machine.only(UPLINK), Level::Warning, "port `uplink`", "an MTU of 1500", fix);
    machine.write("/sys/class/net/eth1/mtu", "9100\n");
    let findings = machine.examine(UPLINK);
    assert!(findings.iter().all(|finding| finding.level <= Level::Note), "{findings:#?}");
    let queues = findings.iter().find(|finding| finding.found.contains("receive queues")).unwrap();
    assert_is(
        queues,
        Level::Note,
        "port `uplink`",
        "0 receive queues, the port asks for 2",
        "ethtool -L eth1",
    );
}

#[test]
fn a_card_that_runs_slower_than_it_could_is_seen() {
    let machine = MadeUp::good();
    for (name, text) in [
        ("current_link_speed", "8.0 GT/s PCIe"),
        ("max_link_speed", "8.0 GT/s PCIe"),
        ("current_link_width", "4"),
        ("max_link_width", "8"),
    ] {
        machine.write(&format!("/sys/bus/pci/devices/0000:01:00.0/{name}"), text);
    }
    assert_is(&machine.only(UPLINK), Level::Warning, "port `uplink`", "4 PCIe lanes", "slot");
}

#[test]
fn interfaces_of_the_kernel_have_an_mtu_and_a_state() {
    let machine = MadeUp::good();
    let config = UPLINK.replace("0000:01:00.0", "net_af_packet0,iface=eth1");
    assert_is(&machine.only(&config), Level::Error, "port `uplink`", "no interface eth1", "ip link");
    machine.write("/sys/class/net/eth1/mtu", "9100\n");
    machine.write("/sys/class/net/eth1/operstate", "down\n");
    assert_is(&machine.only(&config), Level::Warning, "port `uplink`", "eth1 is down", "ip link set eth1 up");
}

#[test]
fn rights_are_those_that_the_devices_need() {
    let machine = MadeUp::good();
    let status = |capabilities: &str| machine.process(1, capabilities, "0-7");
    let tap =
        format!("{UPLINK}[[port]]\nname = \"vm0\"\nrole = \"instance\"\ndevice = \"net_tap0,iface=vm0\"\n");
    machine.write("/proc/self/limits", "Max locked memory 65536 65536 bytes\n");
    status("0000000000005000");
    assert!(
        machine
            .examine(&tap)
            .iter()
            .all(|finding| finding.subject != "locked memory" || finding.level == Level::Ok)
    );
    status("0000000000001000");
    let locked =
        machine.examine(&tap).into_iter().find(|finding| finding.subject == "locked memory").unwrap();
    assert_is(&locked, Level::Warning, "locked memory", "at most 65536 bytes", "LimitMEMLOCK=infinity");
    status("0000000000000000");
    let findings = machine.examine(&tap);
    let missing = findings.iter().find(|finding| finding.subject == "capabilities").unwrap();
    assert_is(missing, Level::Error, "capabilities", "no CAP_NET_ADMIN", "AmbientCapabilities=CAP_NET_ADMIN");
}

#[test]
fn a_group_file_of_another_user_is_an_error() {
    let machine = MadeUp::good();
    let user = fs::metadata(machine.path("/dev/vfio/11")).unwrap().uid();
    machine.process(user + 1, "0", "0-1,4-7");
    assert_is(&machine.only(UPLINK), Level::Error, "IOMMU group", "/dev/vfio/11", "chown");
    machine.process(1000, "0", "0");
    let rights = Rights::of(&machine.machine());
    assert!(!rights.may_write(0, 0, 0o600) && !rights.may_write(0, 0, 0o660));
    assert!(
        rights.may_write(1000, 0, 0o600) && rights.may_write(0, 27, 0o660) && rights.may_write(0, 0, 0o666)
    );
    // CAP_DAC_OVERRIDE
    machine.process(1000, "2", "0");
    assert!(Rights::of(&machine.machine()).may_write(0, 0, 0o600));
}

#[test]
fn folders_of_sockets_must_be_there() {
    let machine = MadeUp::good();
    let vhost = "device = \"net_vhost0,iface=/var/lib/vm/0.sock,client=1\"\n";
    let config = format!("{UPLINK}[[port]]\nname = \"vm0\"\nrole = \"instance\"\n{vhost}");
    let fix = "install -d /var/lib/vm";
    assert_is(&machine.only(&config), Level::Warning, "port `vm0`", "no folder /var/lib/vm", fix);
    fs::create_dir_all(machine.path("/var/lib/vm")).unwrap();
    assert!(machine.examine(&config).iter().all(|finding| finding.level <= Level::Note));
}

#[test]
fn tables_want_transparent_hugepages_and_no_swap() {
    let machine = MadeUp::good();
    machine.write("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    let subject = "transparent hugepages";
    assert_is(&machine.only(UPLINK), Level::Warning, subject, "never", "echo madvise");
    machine.write("/proc/swaps", "Filename Type\n/dev/sda2 partition 1 0 -2\n");
    let findings = machine.examine(UPLINK);
    let swap = findings.iter().find(|finding| finding.subject == "swap").unwrap();
    assert_is(swap, Level::Note, "swap", "/dev/sda2", "swapoff");
}

#[test]
fn balancing_of_numa_nodes_stops_workers() {
    let machine = MadeUp::good();
    machine.write("/proc/sys/kernel/numa_balancing", "1\n");
    assert_is(&machine.only(UPLINK), Level::Warning, "NUMA", "moves memory", "kernel.numa_balancing=0");
}

#[test]
fn cores_are_chosen_near_the_uplinks() {
    let machine = MadeUp::good();
    let cpus = |machine: &MadeUp| cores::choose(&machine.machine(), &host(UPLINK)).cpus;
    machine.write("/sys/devices/system/cpu/isolated", "2-3,6-7\n");
    assert_eq!(cpus(&machine), [2, 3]);
    machine.write("/sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
    assert_eq!(cpus(&machine), [6, 7]);
    // The firmware does not say where the card is.
    machine.write("/sys/bus/pci/devices/0000:01:00.0/numa_node", "-1\n");
    assert_eq!(cpus(&machine), [2, 3, 6, 7]);
    // A container with less.
    machine.write("/sys/fs/cgroup/system.slice/cpuset.cpus.effective", "0-2\n");
    assert_eq!(cpus(&machine), [2]);
}

#[test]
fn without_isolated_cpus_each_core_but_the_first_gets_a_worker() {
    let machine = MadeUp::good();
    let cpus = |machine: &MadeUp| cores::choose(&machine.machine(), &host(UPLINK)).cpus;
    machine.write("/sys/devices/system/cpu/isolated", "\n");
    assert_eq!(cpus(&machine), [1, 4, 5, 6, 7]);
    for (cpu, siblings) in [(0, "0,4"), (4, "0,4"), (1, "1,5"), (5, "1,5")] {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        machine.write(&path, siblings);
    }
    assert_eq!(cpus(&machine), [1, 6, 7]);
    machine.write("/proc/self/status", "Cpus_allowed_list:\t0,4\n");
    assert_eq!(cpus(&machine), [4]);
    machine.write("/proc/self/status", "Cpus_allowed_list:\t3\n");
    assert_eq!(cpus(&machine), [3]);
    let named = host(&format!("workers.cores = [9]\n{UPLINK}"));
    assert_eq!(cores::choose(&machine.machine(), &named).cpus, [9]);
}

#[test]
fn a_finding_is_printed_with_why_and_what_mends_it() {
    let finding = Finding::error("IOMMU", "off", "no card", "one\ntwo");
    assert_eq!(
        finding.to_string(),
        "error    IOMMU: off\n         why: no card\n         fix: one\n              two\n"
    );
    assert_eq!(Finding::ok("NUMA", "one node").to_string(), "ok       NUMA: one node\n");
    let json = serde_json::to_value(Finding::ok("NUMA", "one node")).unwrap();
    assert_eq!(json, json!({ "level": "ok", "subject": "NUMA", "found": "one node" }));
}
