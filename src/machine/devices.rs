//! Devices on PCI, and the kernel's network interfaces.

use super::Machine;

/// The PCI address that a device of the host file begins with, in full: `0000:01:00.0` of `01:00.0,representor=[0]`.
pub fn pci_address(device: &str) -> Option<String> {
    let name = device.split(',').next()?;
    let name = name.strip_prefix("pci:").unwrap_or(name);
    let (domain, rest) = match name.matches(':').count() {
        1 => ("0000", name),
        2 => name.split_once(':')?,
        _ => return None,
    };
    let (bus, slot) = rest.split_once(':')?;
    let (slot, function) = slot.split_once('.')?;
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let right = [domain, bus, slot, function].into_iter().all(hexadecimal);
    right.then(|| format!("{domain}:{bus}:{slot}.{function}").to_lowercase())
}

impl Machine {
    /// The folder of a PCI device.
    pub fn pci(&self, address: &str, name: &str) -> String {
        format!("/sys/bus/pci/devices/{address}/{name}")
    }

    /// The kernel driver that a PCI device is bound to.
    pub fn driver(&self, address: &str) -> Option<String> {
        self.link(self.pci(address, "driver"))
    }

    /// The NUMA node of a device of the host file: of a PCI device, or of the interface behind it.
    pub fn node_of_device(&self, device: &str) -> Option<usize> {
        let path = match (pci_address(device), interface(device)) {
            (Some(address), _) => self.pci(&address, "numa_node"),
            (None, Some(interface)) => format!("/sys/class/net/{interface}/device/numa_node"),
            (None, None) => return None,
        };
        // -1 where the firmware does not say.
        self.number(path)
    }
}

/// The interface of the kernel that a device of the host file is on, if it is on one.
pub fn interface(device: &str) -> Option<&str> {
    let on_one = ["net_af_packet", "net_af_xdp", "eth_af_packet"];
    on_one.iter().any(|driver| device.starts_with(driver)).then(|| option(device, "iface")).flatten()
}

/// What an option of a device is, `eth1` of `net_af_packet0,iface=eth1`.
pub fn option<'a>(device: &'a str, name: &str) -> Option<&'a str> {
    device.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        assert_eq!(pci_address("01:00.0").as_deref(), Some("0000:01:00.0"));
        assert_eq!(pci_address("0001:0A:00.1,representor=[0-3]").as_deref(), Some("0001:0a:00.1"));
        assert_eq!(pci_address("net_tap0,iface=vm0"), None);
        assert_eq!(pci_address("net_tap0,mac=02:00:00:00:00:01"), None);
    }

    #[test]
    fn only_some_devices_are_on_an_interface_of_the_kernel() {
        assert_eq!(interface("net_af_packet0,iface=eth1,qpairs=2"), Some("eth1"));
        assert_eq!(interface("net_tap0,iface=vm0"), None);
    }
}
