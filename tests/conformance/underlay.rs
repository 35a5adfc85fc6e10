//! The underlay between the hosts, and the frames that another implementation would send over it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use warren::packet::{Encapsulation, Mac, checksum::Sum};

use super::{
    frame::{Copied, Underlay},
    journey::{GATEWAY_PORT, SERVICES, UPLINK},
    state::{self, GATEWAY, Names, OUTSIDE},
    suite::{Hosts, Suite},
};

/// How hosts talk.
#[derive(Clone, Copy)]
pub struct Wire {
    pub name: &'static str,
    pub encapsulation: Encapsulation,
    pub ipv6: bool,
}

/// Each encapsulation, each over another family.
pub const WIRES: [Wire; 2] = [
    Wire { name: "vxlan", encapsulation: Encapsulation::Vxlan, ipv6: false },
    Wire { name: "geneve", encapsulation: Encapsulation::Geneve, ipv6: true },
];

impl Wire {
    /// The underlay address of a host.
    pub fn address(&self, host: u8) -> IpAddr {
        if self.ipv6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host.into()).into()
        } else {
            Ipv4Addr::new(192, 0, 2, host).into()
        }
    }

    /// The MAC of a host's uplink.
    pub fn mac(&self, host: u8) -> Mac {
        Mac([0x02, 0xfa, 0, 0, 0, host])
    }

    /// Bytes that an inner IP packet has more in the underlay: RFC 7348 §5, RFC 8926 §3.4 with Warren's option.
    pub fn overhead(&self) -> u16 {
        let shim = if self.encapsulation == Encapsulation::Geneve { 24 } else { 8 };
        14 + shim + 8 + if self.ipv6 { 40 } else { 20 }
    }

    /// A host's file. `device` says what is behind a port.
    pub fn host_file(&self, suite: &Suite, host: &str, device: impl Fn(usize, &str) -> String) -> String {
        let Hosts { hosts, mtu, mtus, .. } = &suite.hosts;
        let own = &hosts[host];
        let mut ports: Vec<String> = suite.ports(host);
        ports.extend([UPLINK.to_owned(), SERVICES.to_owned()]);
        ports.extend(suite.is_edge(host).then(|| GATEWAY_PORT.to_owned()));
        let mut text = format!(
            "host = \"{host}\"\nstate = \"state.json\"\nencapsulation = \"{}\"\n\
             workers = {{ cores = [{}], idle = \"sleep\" }}\ncontrol = {{ socket = \"SOCKET\" }}\n\
             eal = {{ args = [\"--no-pci\", \"--in-memory\"] }}\n",
            self.name,
            own.number % 2,
        );
        for (index, port) in ports.iter().enumerate() {
            let device = device(index, port);
            text += &format!("[[port]]\nname = \"{port}\"\ndevice = \"{device}\"\ndescriptors = 64\n");
            if port == SERVICES {
                text += &format!("role = \"service\"\npeer = \"{}\"\n", state::SERVICES);
                continue;
            }
            if port == GATEWAY_PORT {
                text += &self.gateway_port(own.number);
                continue;
            }
            if port != UPLINK {
                let mtu = mtus.get(port).unwrap_or(mtu);
                text += &format!("role = \"instance\"\nmtu = {mtu}\n");
                continue;
            }
            let length = if self.ipv6 { 64 } else { 24 };
            text += &format!(
                "role = \"uplink\"\nmtu = {}\nmac = \"{}\"\naddress = \"{}/{length}\"\nneighbors = [\n",
                own.carries + self.overhead(),
                self.mac(own.number),
                self.address(own.number),
            );
            for other in hosts.values().filter(|other| other.number != own.number) {
                let (address, mac) = (self.address(other.number), self.mac(other.number));
                text += &format!("  {{ address = \"{address}\", mac = \"{mac}\" }},\n");
            }
            text += "]\n";
        }
        text
    }

    /// A gateway port's keys: a link with a router to the internet, which has all VLANs' next hops too.
    fn gateway_port(&self, host: u8) -> String {
        let untagged = ["198.18.0.254", "2001:db8:1818::fe"].map(|address| (address.to_owned(), 0));
        // Of the circuits in parts.yaml: 169.254.n.2 on VLAN n.
        let tagged = (100..=250).map(|vlan| (format!("169.254.{vlan}.2"), vlan));
        let neighbors = untagged.into_iter().chain(tagged).map(|(address, vlan)| {
            format!("  {{ address = \"{address}\", mac = \"{OUTSIDE}\", vlan = {vlan} }},\n")
        });
        format!(
            "role = \"gateway\"\nmtu = 9001\nmac = \"{}\"\n\
             addresses = [\"198.18.0.{host}/24\", \"2001:db8:1818::{host}/64\"]\n\
             next_hops = [\"198.18.0.254\", \"2001:db8:1818::fe\"]\nneighbors = [\n{}]\n",
            Self::gateway_mac(host),
            neighbors.collect::<String>(),
        )
    }

    /// The MAC of a host's gateway port.
    fn gateway_mac(host: u8) -> Mac {
        Mac([0x02, 0xfc, 0, 0, 0, host])
    }

    /// A frame from outside as it comes in at a host's gateway port.
    pub fn enter(&self, frame: &[u8], host: u8, vlan: Option<u16>) -> Vec<u8> {
        let mut frame = frame.to_vec();
        if frame[..6] == GATEWAY.0 {
            frame[..6].copy_from_slice(&Self::gateway_mac(host).0);
        }
        if let Some(vlan) = vlan {
            frame.splice(12..12, [[0x81, 0], vlan.to_be_bytes()].concat());
        }
        frame
    }

    /// The VLAN of a frame that left at a host's gateway port, and the frame without it.
    pub fn leave(&self, frame: &[u8], host: u8) -> Result<(Option<u16>, Vec<u8>), String> {
        let mut frame = frame.to_vec();
        if frame[..12] != [OUTSIDE.0, Self::gateway_mac(host).0].concat() {
            return Err("other MACs than those of the link".to_owned());
        }
        frame[..12].copy_from_slice(&[OUTSIDE.0, GATEWAY.0].concat());
        if frame[12..14] != [0x81, 0] {
            return Ok((None, frame));
        }
        let tag: Vec<u8> = frame.drain(12..16).collect();
        Ok((Some(u16::from_be_bytes([tag[2], tag[3]])), frame))
    }

    /// Puts a mark into the outer header's congestion field.
    pub fn mark(&self, frame: &mut [u8], mark: u8) {
        if self.ipv6 {
            frame[15] = frame[15] & !0x30 | mark << 4;
        } else {
            frame[15] = frame[15] & !3 | mark;
            frame[24..26].fill(0);
            let checksum = Sum::of(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    /// A frame as a host sends it to another: RFC 7348 §5, RFC 8926 §3.
    pub fn around(&self, inner: &[u8], underlay: &Underlay, names: &Names<'_>, hosts: &Hosts) -> Vec<u8> {
        // Or a number, of a host that isn't one of them.
        let number = |host: &String| {
            hosts
                .hosts
                .get(host)
                .map_or_else(|| host.parse().expect("a host or a number"), |host| host.number)
        };
        let (from, to) = (number(&underlay.from), number(&underlay.to));
        let vni = |vpc: &str| match names.model.vpcs.get(vpc) {
            Some(vpc) => vpc.vni.get(),
            None => vpc.parse().expect("a VPC or a number"),
        };
        let source = Mac(inner[6..12].try_into().unwrap());
        let sender = match &underlay.sender {
            Some(eni) => Some(names.eni(eni)),
            None => names.model.enis.values().find(|eni| eni.mac == source),
        };
        let network = vni(&underlay.vpc) << 8;
        let shim = match (self.encapsulation, sender) {
            (Encapsulation::Vxlan, _) => [&[8, 0, 0, 0][..], &network.to_be_bytes()].concat(),
            (Encapsulation::Geneve, None) => [&[0, 0, 0x65, 0x58][..], &network.to_be_bytes()].concat(),
            (Encapsulation::Geneve, Some(eni)) => {
                let option = [&[0xff, 0x77, 1, 3][..], &vni(&eni.vpc).to_be_bytes(), &eni.mac.0, &[0, 0]];
                [&[3 + 1, 0, 0x65, 0x58][..], &network.to_be_bytes(), &option.concat()].concat()
            }
        };
        let length = (8 + shim.len() + inner.len()) as u16;
        let udp = [50_000, self.encapsulation.port(), length, 0].map(u16::to_be_bytes).concat();
        let mut frame = [self.mac(to).0, self.mac(from).0].concat();
        match (self.address(from), self.address(to)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([8, 0, 0x45, 0]);
                frame.extend((20 + length).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
                frame.extend([from.octets(), to.octets()].concat());
                let checksum = Sum::of(&frame[14..34]).checksum();
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([17, 64]);
                frame.extend([from.octets(), to.octets()].concat());
            }
            _ => unreachable!("one family"),
        }
        frame.extend(udp);
        frame.extend(shim);
        frame.extend(inner);
        frame
    }
}

/// A frame in a GRE tunnel (RFC 2784) from one address to another: the packet's traffic class is the outer one's too.
pub fn into_tunnel(frame: &[u8], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let (macs, packet) = (&frame[..12], &frame[12..]);
    let class = if packet[0] == 8 { packet[3] } else { packet[2] << 4 | packet[3] >> 4 };
    // GRE's header ends with the EtherType, as Ethernet's.
    let length = 20 + 2 + packet.len() as u16;
    let mut header = [&[0x45, class][..], &length.to_be_bytes(), &[0, 0, 0x40, 0, 64, 47, 0, 0]].concat();
    header.extend([from.octets(), to.octets()].concat());
    let checksum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [macs, &[8, 0], &header, &[0, 0], packet].concat()
}

/// The frame without its tunnel between Warren and an appliance, if it is in that.
pub fn out_of_tunnel(frame: &[u8], (here, there): (Ipv4Addr, Ipv4Addr)) -> Result<Vec<u8>, String> {
    let Some(packet) = frame.get(14 + 20 + 2..) else { return Err("not in its tunnel".to_owned()) };
    let inner = [&frame[..12], packet].concat();
    let whole = inner.len() > 34 && into_tunnel(&inner, here, there) == frame;
    if whole { Ok(inner) } else { Err(format!("not in its tunnel: {frame:02x?}")) }
}

/// The frame in a copy for traffic mirroring: VXLAN (RFC 7348) over IPv4 from the address of the ENI whose packet it is to that of
/// the target, where the copy has arrived. What depends on the flow is left to the implementer.
pub fn out_of_copy(copy: &[u8], copied: &Copied, at: &str, names: &Names<'_>) -> Result<Vec<u8>, String> {
    const HEADER: usize = 14 + 20 + 8 + 8;
    let (Some(header), Some(inner)) = (copy.get(..HEADER), copy.get(HEADER..)) else {
        return Err("no copy: it is too short".to_owned());
    };
    let address = |eni: &str| match names.ip(&format!("ip4({eni})")) {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => panic!("{address}"),
    };
    let length = |less: usize| ((copy.len() - less) as u16).to_be_bytes();
    let target = names.eni(at);
    let macs = [target.mac.0, names.mac(&format!("router({})", target.subnet)).0].concat();
    let same = [
        ("MACs", header[..12] == macs),
        ("IPv4", header[12..15] == [0x08, 0x00, 0x45] && header[23] == 17),
        ("IPv4 length", header[16..18] == length(14)),
        ("IPv4 checksum", Sum::of(&header[14..34]).checksum() == 0),
        ("source", header[26..30] == address(&copied.of)),
        ("destination", header[30..34] == address(at)),
        ("UDP port", header[36..38] == 4789_u16.to_be_bytes()),
        ("UDP length", header[38..40] == length(34)),
        ("VXLAN flags", header[42..46] == [0x08, 0, 0, 0]),
        ("VNI", header[46..50] == (copied.vni << 8).to_be_bytes()),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(format!("no copy: wrong {what}: {header:02x?}")),
        None => Ok(inner.to_vec()),
    }
}
