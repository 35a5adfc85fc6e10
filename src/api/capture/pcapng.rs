//! A capture as a pcapng file (draft-ietf-opsawg-pcapng). Written here: the crate that reads them cannot write the ids that
//! tie a packet to what it became.

use std::io::{self, Write};

use super::{Capturing, Direction, Ended, Packet, Wanted};

/// Block types (§11.1).
mod block {
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(super) const INTERFACE_STATISTICS: u32 = 5;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Option codes, each of the block whose name it has (§3.5, §4).
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SHB_USERAPPL: u16 = 4;
    pub(super) const IF_NAME: u16 = 2;
    pub(super) const IF_DESCRIPTION: u16 = 3;
    pub(super) const IF_TSRESOL: u16 = 9;
    pub(super) const IF_FILTER: u16 = 11;
    pub(super) const EPB_FLAGS: u16 = 2;
    pub(super) const EPB_PACKETID: u16 = 5;
    pub(super) const ISB_IFRECV: u16 = 4;
    pub(super) const ISB_IFDROP: u16 = 5;
}

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Version 1.0.
const VERSION: [u16; 2] = [1, 0];
const LINKTYPE_ETHERNET: u16 = 1;
/// `if_tsresol` of nanoseconds.
const NANOSECONDS: u8 = 9;

/// A file that is being written.
pub(super) struct File<W: Write> {
    to: W,
    body: Body,
    interface: u32,
    /// Of the last packet.
    time: u64,
}

impl<W: Write> File<W> {
    /// Starts a file: an interface for each port.
    pub(super) fn new(to: W, capturing: &Capturing, wanted: &Wanted) -> io::Result<Self> {
        let mut file = Self { to, body: Body::default(), interface: capturing.port as u32, time: 0 };
        let comment = format!("capture at {} of {}", capturing.label(capturing.port), capturing.host);
        file.body.put(&BYTE_ORDER_MAGIC.to_be_bytes());
        VERSION.iter().for_each(|number| file.body.put(&number.to_be_bytes()));
        // Its length, which is not known.
        file.body.put(&u64::MAX.to_be_bytes());
        file.body.option(option::COMMENT, comment.as_bytes());
        let application = concat!("warren ", env!("CARGO_PKG_VERSION"));
        file.body.option(option::SHB_USERAPPL, application.as_bytes());
        file.write(block::SECTION_HEADER)?;
        for (index, port) in capturing.ports.iter().enumerate() {
            file.body.put(&LINKTYPE_ETHERNET.to_be_bytes());
            file.body.put(&[0; 2]);
            file.body.put(&wanted.snaplen.to_be_bytes());
            file.body.option(option::IF_NAME, port.name.as_bytes());
            if let Some(eni) = &port.eni {
                file.body.option(option::IF_DESCRIPTION, eni.as_bytes());
            }
            if let Some(filter) = wanted.filter.as_ref().filter(|_| index == capturing.port) {
                // 0: the rest is an expression of libpcap.
                file.body.option(option::IF_FILTER, &[&[0], filter.as_bytes()].concat());
            }
            file.body.option(option::IF_TSRESOL, &[NANOSECONDS]);
            file.write(block::INTERFACE_DESCRIPTION)?;
        }
        Ok(file)
    }

    /// Adds a frame.
    pub(super) fn packet(&mut self, capturing: &Capturing, packet: &Packet, data: &[u8]) -> io::Result<()> {
        self.time = packet.time;
        let comment = format!("{}: {}", packet.place(capturing), packet.outcome.text(capturing));
        let flags: u32 = match packet.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        self.body.put(&(packet.port as u32).to_be_bytes());
        self.body.put(&packet.time.to_be_bytes());
        self.body.put(&(data.len() as u32).to_be_bytes());
        self.body.put(&packet.length.to_be_bytes());
        self.body.put(data);
        self.body.pad();
        self.body.option(option::COMMENT, comment.as_bytes());
        self.body.option(option::EPB_FLAGS, &flags.to_be_bytes());
        self.body.option(option::EPB_PACKETID, &packet.id.to_be_bytes());
        self.write(block::ENHANCED_PACKET)
    }

    /// Ends the file with what was counted.
    pub(super) fn finish(&mut self, ended: &Ended) -> io::Result<()> {
        self.body.put(&self.interface.to_be_bytes());
        self.body.put(&self.time.to_be_bytes());
        self.body.option(option::ISB_IFRECV, &(ended.packets + ended.lost).to_be_bytes());
        self.body.option(option::ISB_IFDROP, &ended.lost.to_be_bytes());
        self.write(block::INTERFACE_STATISTICS)?;
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Writes a block with what has been put into the body, and its options' end.
    fn write(&mut self, kind: u32) -> io::Result<()> {
        self.body.option(option::END, &[]);
        // Type, and the length at both ends.
        let length = (self.body.0.len() as u32 + 12).to_be_bytes();
        for part in [&kind.to_be_bytes()[..], &length, &self.body.0, &length] {
            self.to.write_all(part)?;
        }
        self.body.0.clear();
        Ok(())
    }
}

/// A block's body.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// To a multiple of 32 bits.
    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = value.get(..value.len().min(usize::from(u16::MAX))).unwrap_or_default();
        self.put(&code.to_be_bytes());
        self.put(&(value.len() as u16).to_be_bytes());
        self.put(value);
        self.pad();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::pcapng::{
        Block, PcapNgReader,
        blocks::{
            enhanced_packet::EnhancedPacketOption, interface_description::InterfaceDescriptionOption,
            interface_statistics::InterfaceStatisticsOption,
        },
    };

    use super::*;
    use crate::api::capture::{Directions, Outcome, Place, Port};

    #[test]
    fn others_read_what_is_written() {
        let port = |name: &str, eni: Option<&str>| Port { name: name.into(), eni: eni.map(Into::into) };
        let ports = vec![port("vm0", Some("eni-a1")), port("uplink", None)];
        let capturing = Capturing { host: "host-a".into(), port: 0, ports };
        let wanted = Wanted {
            place: Place::Eni("eni-a1".into()),
            direction: Directions::Both,
            filter: Some("arp".into()),
            sample: 1,
            snaplen: 100,
            count: None,
            duration: None,
        };
        let packet = Packet {
            time: 1_700_000_000_123_456_789,
            id: 7,
            port: 0,
            direction: Direction::In,
            outcome: Outcome::SentTo(1),
            length: 60,
            captured: 5,
        };
        let mut file = File::new(Vec::new(), &capturing, &wanted).unwrap();
        file.packet(&capturing, &packet, b"frame").unwrap();
        file.finish(&Ended { packets: 1, lost: 2, why: None }).unwrap();
        let mut reader = PcapNgReader::new(&file.to[..]).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block() {
            blocks.push(block.unwrap().into_owned());
        }
        let [
            Block::InterfaceDescription(vm0),
            Block::InterfaceDescription(uplink),
            Block::EnhancedPacket(read),
            Block::InterfaceStatistics(statistics),
        ] = &blocks[..]
        else {
            panic!("{blocks:?}")
        };
        assert_eq!(
            vm0.options,
            [
                InterfaceDescriptionOption::IfName("vm0".into()),
                InterfaceDescriptionOption::IfDescription("eni-a1".into()),
                InterfaceDescriptionOption::IfFilter(b"\0arp"[..].into()),
                InterfaceDescriptionOption::IfTsResol(9),
            ]
        );
        assert_eq!((vm0.snaplen, uplink.options.len()), (100, 2));
        assert_eq!((read.interface_id, read.timestamp), (0, Duration::from_nanos(packet.time)));
        assert_eq!((read.original_len, &read.data[..]), (60, &b"frame"[..]));
        assert_eq!(
            read.options[..2],
            [
                EnhancedPacketOption::Comment("in vm0 eni-a1: sent to uplink".into()),
                EnhancedPacketOption::Flags(1)
            ]
        );
        let EnhancedPacketOption::Unknown(id) = &read.options[2] else { panic!("{:?}", read.options) };
        assert_eq!((id.code, &id.value[..]), (5, &7_u64.to_be_bytes()[..]));
        assert_eq!(statistics.timestamp, packet.time);
        assert_eq!(
            statistics.options,
            [InterfaceStatisticsOption::IsbIfRecv(3), InterfaceStatisticsOption::IsbIfDrop(2)]
        );
    }
}
