//! The devices of the host file, as far as they can be looked at from outside.

use std::path::Path;

use super::{Finding, Level, Patient};
use crate::{
    machine::{Machine, interface, option, pci_address},
    node::config::PortConfig,
};

/// Kernel drivers that a DPDK driver works beside: their cards stay bound to them.
pub(super) const BIFURCATED: [&str; 3] = ["mlx5_core", "mlx4_core", "mana"];
/// Kernel drivers that give a card to a program.
const FOR_PROGRAMS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let (machine, workers) = (patient.machine, patient.workers().len());
    let of_port = |port: &PortConfig| {
        let look = Look { machine, port, queues: port.queues_for(workers) };
        match (pci_address(&port.device), interface(&port.device)) {
            (Some(address), _) => look.card(&address),
            (None, Some(interface)) => look.interface(interface),
            (None, None) => look.virtual_device(),
        }
    };
    patient.ports().flat_map(of_port).collect()
}

/// A port whose device is looked at.
struct Look<'a> {
    machine: &'a Machine,
    port: &'a PortConfig,
    /// How many queues it is to have.
    queues: usize,
}

impl Look<'_> {
    fn subject(&self) -> String {
        format!("port `{}`", self.port.name)
    }

    fn error(&self, found: String, why: &str, fix: String) -> Vec<Finding> {
        vec![Finding::error(self.subject(), found, why, fix)]
    }

    /// A card, or a virtual function of one.
    fn card(&self, address: &str) -> Vec<Finding> {
        let machine = self.machine;
        if !machine.has(machine.pci(address, "")) {
            let fix = "lspci -D -d ::0200 lists the network cards; with SR-IOV, echo N > …/sriov_numvfs makes the functions";
            return self.error(format!("no PCI device {address}"), "there is nothing to open", fix.into());
        }
        let bind = format!(
            "driverctl set-override {address} vfio-pci\nor, until the next boot: dpdk-devbind.py -b vfio-pci {address}"
        );
        let Some(driver) = machine.driver(address) else {
            return self.error(format!("{address} has no driver"), "DPDK opens what vfio-pci gives it", bind);
        };
        let interfaces = machine.names(machine.pci(address, "net"));
        let mut findings = match driver.as_str() {
            "vfio-pci" => {
                let found = format!("{address} is bound to {driver}");
                vec![
                    Finding::ok(self.subject(), found),
                    Finding::note(
                        self.subject(),
                        format!("queues, RSS and MTU of {address} can't be seen while no program has it"),
                        format!("{} queues and an MTU of {} are asked for", self.queues, self.port.mtu),
                    )
                    .with_fix("warren show ports, once the node runs, has what it got"),
                ]
            }
            uio if FOR_PROGRAMS.contains(&uio) => {
                let found = format!("{address} is bound to {uio}");
                let why = "without an IOMMU the card can write anywhere, and only root can run the node";
                vec![Finding::warning(self.subject(), found, why, bind)]
            }
            beside if BIFURCATED.contains(&beside) => {
                let found = format!("{address} stays with {beside}, which DPDK works beside");
                let mut findings = vec![Finding::ok(self.subject(), found)];
                findings.extend(interfaces.iter().flat_map(|interface| self.interface(interface)));
                findings
            }
            kernel => {
                let used = if interfaces.is_empty() {
                    String::new()
                } else {
                    format!(" (interface {})", interfaces.join(", "))
                };
                let found = format!("{address} is bound to {kernel}, the kernel's own{used}");
                let why = "DPDK can't open it; when it is bound to vfio-pci, the kernel's interface goes";
                return self.error(found, why, bind);
            }
        };
        findings.extend(self.slot(address));
        findings
    }

    /// How a card is plugged in.
    fn slot(&self, address: &str) -> Option<Finding> {
        let read = |name: &str| self.machine.text(self.machine.pci(address, name));
        let (speed, most) = (read("current_link_speed")?, read("max_link_speed")?);
        let (width, widest) = (read("current_link_width")?, read("max_link_width")?);
        (speed != most || width != widest).then(|| {
            Finding::warning(
                self.subject(),
                format!("{address} has {width} PCIe lanes at {speed}; it could have {widest} at {most}"),
                "the bus may be slower than the network",
                "put the card into a slot with as many lanes, and look at the slot's speed in the firmware",
            )
        })
    }

    /// An interface of the kernel: what is behind net_af_packet, or beside a bifurcated driver.
    fn interface(&self, name: &str) -> Vec<Finding> {
        let (machine, port) = (self.machine, self.port);
        let read = |file: &str| machine.text(format!("/sys/class/net/{name}/{file}"));
        let Some(mtu) = read("mtu").and_then(|mtu| mtu.parse::<u32>().ok()) else {
            let why = "there is nothing to open";
            return self.error(format!("no interface {name}"), why, "ip link lists those there are".into());
        };
        let mut findings = Vec::new();
        if mtu < port.mtu.into() {
            findings.push(Finding::warning(
                self.subject(),
                format!("{name} has an MTU of {mtu}, the port one of {}", port.mtu),
                "longer packets are lost there",
                format!("ip link set {name} mtu {}", port.mtu),
            ));
        }
        if read("operstate").is_some_and(|state| state == "down") {
            let fix = format!("ip link set {name} up; then look at cable and switch");
            findings.push(Finding::warning(
                self.subject(),
                format!("{name} is down"),
                "nothing comes or goes",
                fix,
            ));
        }
        let queues = machine.names(format!("/sys/class/net/{name}/queues"));
        let queues = queues.iter().filter(|queue| queue.starts_with("rx-")).count();
        if pci_address(&port.device).is_some() && queues < self.queues {
            let fix = format!(
                "ethtool -l {name} shows how many are possible; ethtool -L {name} combined {}",
                self.queues
            );
            let found = format!("{name} has {queues} receive queues, the port asks for {}", self.queues);
            let why = "RSS spreads flows over queues: workers without one only get what others hand over";
            findings.push(Finding::note(self.subject(), found, why).with_fix(fix));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(self.subject(), format!("{name} is there, with an MTU of {mtu}")));
        }
        findings
    }

    /// A device of DPDK's own.
    fn virtual_device(&self) -> Vec<Finding> {
        let device = &self.port.device;
        if device.starts_with("net_tap") {
            return vec![self.tap()];
        }
        let path = if device.starts_with("net_vhost") {
            option(device, "iface")
        } else if device.starts_with("net_memif") && option(device, "socket-abstract") == Some("no") {
            option(device, "socket")
        } else {
            None
        };
        let folder = path.and_then(|path| Path::new(path).parent());
        vec![match folder.filter(|folder| folder.is_absolute() && !self.machine.has(folder)) {
            Some(folder) => {
                let (found, why) =
                    (format!("no folder {}", folder.display()), "the socket can't be made there");
                Finding::warning(self.subject(), found, why, format!("install -d {}", folder.display()))
            }
            None => Finding::ok(self.subject(), device.clone()),
        }]
    }

    fn tap(&self) -> Finding {
        if !self.machine.has("/dev/net/tun") {
            let (found, why) = ("no /dev/net/tun", "Warren makes the interface through it");
            return Finding::error(
                self.subject(),
                found,
                why,
                "modprobe tun; in a container, --device /dev/net/tun",
            );
        }
        let finding = Finding::ok(self.subject(), self.port.device.clone());
        match self.port.uplink() {
            Some(_) => Finding {
                level: Level::Note,
                why: Some(
                    "net_tap copies each packet through the kernel: for tests, not for a network".into(),
                ),
                ..finding
            },
            None => finding,
        }
    }
}
