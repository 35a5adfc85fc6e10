//! Ethernet devices.

use std::{
    ffi::{CStr, CString},
    mem::MaybeUninit,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Eal, Errno, Guest, Mempool, PortError, RxQueue, TxQueue, eal::EalInner, port_error::Problem, sys, vhost,
};
use crate::packet::Mac;

/// What an Ethernet frame has besides the MTU: two addresses, type, and one 802.1Q tag.
const FRAME_OVERHEAD: u32 = 18;

/// A receive-side scaling key with which both directions of a flow hash the same, since it repeats after 16 bits.
const SYMMETRIC_KEY: [u8; 2] = [0x6d, 0x5a];

/// The length of the key in bytes where a driver does not state its own.
const RSS_KEY_LEN: u8 = 40;

/// An Ethernet device of DPDK: probed, then [configured](Port::configure), then [started](Port::start). When the port
/// and its last queue are gone, the device is stopped, closed and detached.
#[derive(Debug)]
pub struct Port {
    inner: Arc<PortInner>,
    stage: Stage,
    /// For each queue whether it is still here to be taken.
    rx: Vec<bool>,
    tx: Vec<bool>,
    /// Whether the device sends frames in several pieces.
    segments: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Probed,
    Configured,
    Started,
}

/// The device itself, which the port and its queues share.
#[derive(Debug)]
pub(super) struct PortInner {
    id: u16,
    device: String,
    /// What the receive queues were ever set up to fill. They go after the device is closed.
    pools: Mutex<Vec<Mempool>>,
    /// Who is behind a vhost device.
    guest: Option<Arc<Guest>>,
    eal: Arc<EalInner>,
}

/// How to configure a [`Port`].
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues to have, at least 1; fewer if the device has not so many.
    pub rx_queues: u16,
    /// Transmit queues to have, at least 1; fewer if the device has not so many.
    pub tx_queues: u16,
    /// Descriptors of each receive queue, brought within the device's limits.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue, brought within the device's limits.
    pub tx_descriptors: u16,
    /// The largest layer-3 packet in bytes; `None` keeps the device's.
    pub mtu: Option<u16>,
    /// The device's own address; `None` keeps it.
    pub mac: Option<Mac>,
    /// Whether to receive frames for every address.
    pub promiscuous: bool,
    /// Whether to spread flows over the receive queues, if there are several and the device can, so that both directions
    /// of a flow meet in one queue.
    pub rss: bool,
    /// Whether the device is to check checksums of received frames, if it can. A vhost device that is asked to leaves checksums
    /// that its guest left to it as they are, and says so ([`Buffer::undone`](crate::packet::Buffer::undone)).
    pub rx_checksums: bool,
    /// Where received frames are put; on the device's NUMA node ([`PortInfo::socket`]) for speed.
    pub pool: Mempool,
}

/// What a [`Port`] was configured to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSetup {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue.
    pub tx_descriptors: u16,
    /// What became of [`PortConfig::mtu`].
    pub mtu: MtuOutcome,
    /// The device's address, which is not that of [`PortConfig::mac`] if the driver can't set it.
    pub mac: Mac,
    /// Whether the driver switched promiscuous reception on. One that can't usually receives everything anyway.
    pub promiscuous: bool,
    /// Whether flows are spread over the receive queues.
    pub rss: bool,
    /// Whether the device checks IPv4 header checksums of received packets.
    pub rx_ipv4_checksum: bool,
    /// Whether the device checks TCP and UDP checksums of received packets.
    pub rx_l4_checksum: bool,
    /// Whether the device fills in UDP checksums
    /// ([`Buffer::offload_udp6_checksum`](crate::packet::Buffer::offload_udp6_checksum)). If not, software has to.
    pub tx_udp_checksum: bool,
    /// Whether the device sends frames in several pieces. If not, [`TxQueue::burst`] makes them one.
    pub tx_segments: bool,
}

/// What became of a wish for an MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtuOutcome {
    /// The device has it, in bytes; also where none was asked for.
    Is(u16),
    /// The driver has no way to set it, and passes what its own limit is.
    Fixed,
    /// The driver declares that it takes no more than so many bytes, and was left as it is. Software drivers declare
    /// about 1500: `net_af_packet` and `net_memif` pass what fits their buffers and the kernel's interface all the same,
    /// `net_tap` does not send more, and leaves such a frame and those behind it with the caller.
    Limit(u16),
}

/// What a device is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// The device string.
    pub device: String,
    /// DPDK's number of the port.
    pub id: u16,
    /// The driver's name.
    pub driver: String,
    /// The device's address.
    pub mac: Mac,
    /// The device's NUMA node, if it is on one.
    pub socket: Option<u32>,
    /// The most receive queues it can have.
    pub max_rx_queues: u16,
    /// The most transmit queues it can have.
    pub max_tx_queues: u16,
    /// The largest MTU in bytes that the driver declares.
    pub max_mtu: u16,
    /// Whether it can check IPv4 header checksums of received packets.
    pub rx_ipv4_checksum: bool,
    /// Whether it can check TCP and UDP checksums of received packets.
    pub rx_l4_checksum: bool,
    /// Whether it can fill in UDP checksums.
    pub tx_udp_checksum: bool,
    /// Whether the link is up.
    pub link_up: bool,
}

/// A device's counters since it was probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames dropped because the receive queues were full.
    pub rx_missed: u64,
    /// Frames received with errors.
    pub rx_errors: u64,
    /// Frames dropped because the mempool was empty.
    pub rx_no_mbuf: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
}

impl Port {
    /// Attaches `device`, DPDK's name of it with its options (`net_tap0,iface=vm0`, `0000:01:00.0`), or takes over the
    /// one that EAL attached when it started.
    ///
    /// # Errors
    ///
    /// If there is no such device, no driver for it, the driver refuses it, or it has a `Port`.
    pub fn probe(eal: &Eal, device: &str) -> Result<Self, PortError> {
        let error = |problem| PortError { device: device.to_owned(), problem };
        let failed = |errno| error(Problem::Probe(errno));
        let mut claimed = eal.inner().claimed();
        let devargs = CString::new(device).map_err(|_| failed(Errno(libc::EINVAL)))?;
        // SAFETY: the EAL is initialised, `devargs` a string, and the lock keeps others from attaching at the same time.
        match Errno::check(unsafe { sys::rte_dev_probe(devargs.as_ptr()) }) {
            Ok(()) | Err(Errno(libc::EEXIST)) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let id = port_id(device).ok_or_else(|| error(Problem::NoPort))?;
        if claimed.contains(&id) {
            return Err(error(Problem::Claimed));
        }
        claimed.push(id);
        let guest = is_vhost(device).then(|| Guest::watch(id)).transpose();
        let guest = guest.map_err(|errno| error(Problem::Driver { action: "tell of its link", errno }))?;
        let inner = PortInner {
            id,
            device: device.to_owned(),
            pools: Mutex::default(),
            guest,
            eal: Arc::clone(eal.inner()),
        };
        Ok(Self {
            inner: Arc::new(inner),
            stage: Stage::Probed,
            rx: Vec::new(),
            tx: Vec::new(),
            segments: false,
        })
    }

    /// Sets the device up for `config`, as far as it goes, and says how far that is.
    ///
    /// # Errors
    ///
    /// If it is configured, the pool's buffers are smaller than a frame, or the driver refuses.
    pub fn configure(&mut self, config: &PortConfig) -> Result<PortSetup, PortError> {
        if self.stage != Stage::Probed {
            return Err(self.error(Problem::Order("configure a port once, before it is started")));
        }
        let id = self.inner.id;
        let info = self.inner.describe()?;
        self.check_room(&config.pool, config.mtu.unwrap_or(sys::WARREN_MTU))?;
        let mtu = config.mtu.filter(|&mtu| mtu <= info.max_mtu);

        let rx_queues = config.rx_queues.clamp(1, info.max_rx_queues.max(1));
        let tx_queues = config.tx_queues.clamp(1, info.max_tx_queues.max(1));
        let rx_checksums =
            sys::WARREN_OFFLOAD_RX_IPV4 | sys::WARREN_OFFLOAD_RX_UDP | sys::WARREN_OFFLOAD_RX_TCP;
        let rx_offloads = if config.rx_checksums { info.rx_offloads & rx_checksums } else { 0 };
        let tx_offloads = info.tx_offloads & (sys::WARREN_OFFLOAD_TX_UDP | sys::WARREN_OFFLOAD_TX_SEGMENTS);
        let flows = info.rss_flows & sys::WARREN_RSS_FLOWS;
        let rss = config.rss && rx_queues > 1 && flows != 0;
        let rss_key_len = if info.rss_key_len == 0 { RSS_KEY_LEN } else { info.rss_key_len };
        let mut key: Vec<u8> = SYMMETRIC_KEY.into_iter().cycle().take(rss_key_len.into()).collect();

        let conf = sys::warren_conf {
            rx_offloads,
            tx_offloads,
            rss_flows: if rss { flows } else { 0 },
            rss_key: key.as_mut_ptr(),
            rx_queues,
            tx_queues,
            mtu: mtu.unwrap_or(0),
            rss_key_len,
        };
        // SAFETY: the port is attached, this process's, and not started; `conf` and the key are valid for the call.
        self.call("configure", unsafe { sys::warren_configure(id, &raw const conf) })?;
        if self.inner.guest.is_some()
            && let Some(socket) = self.device().split(',').find_map(|option| option.strip_prefix("iface="))
        {
            vhost::refuse_ufo(Path::new(socket));
        }

        let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: the port is configured; the numbers are valid for the call.
        self.call("size the rings", unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx_descriptors, &raw mut tx_descriptors)
        })?;
        self.set_up_queues((rx_queues, rx_descriptors), (tx_queues, tx_descriptors), &config.pool)?;
        let mtu = if mtu == config.mtu { self.set_mtu(mtu)? } else { MtuOutcome::Limit(info.max_mtu) };
        if let Some(mac) = config.mac {
            let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
            // SAFETY: the port is configured; the address is valid for the call.
            self.call_if_supported("set the MAC address", unsafe {
                sys::rte_eth_dev_default_mac_addr_set(id, &raw mut address)
            })?;
        }
        let promiscuous = config.promiscuous
            // SAFETY: the port is configured.
            && self.call_if_supported("receive every address", unsafe { sys::rte_eth_promiscuous_enable(id) })?;
        self.rx = vec![true; rx_queues.into()];
        self.tx = vec![true; tx_queues.into()];
        self.stage = Stage::Configured;
        self.segments = tx_offloads & sys::WARREN_OFFLOAD_TX_SEGMENTS != 0;
        let l4 = sys::WARREN_OFFLOAD_RX_UDP | sys::WARREN_OFFLOAD_RX_TCP;
        Ok(PortSetup {
            rx_queues,
            tx_queues,
            rx_descriptors,
            tx_descriptors,
            mtu,
            mac: self.inner.mac()?,
            promiscuous,
            rss,
            rx_ipv4_checksum: rx_offloads & sys::WARREN_OFFLOAD_RX_IPV4 != 0,
            rx_l4_checksum: rx_offloads & l4 == l4,
            tx_udp_checksum: tx_offloads & sys::WARREN_OFFLOAD_TX_UDP != 0,
            tx_segments: self.segments,
        })
    }

    /// Starts to receive and send.
    ///
    /// # Errors
    ///
    /// If it is not configured or is started, or the driver refuses.
    pub fn start(&mut self) -> Result<(), PortError> {
        if self.stage != Stage::Configured {
            return Err(self.error(Problem::Order("start a port once, when it is configured")));
        }
        // SAFETY: the port is configured and its queues are set up.
        self.call("start", unsafe { sys::rte_eth_dev_start(self.inner.id) })?;
        self.stage = Stage::Started;
        if let Some(guest) = &self.inner.guest {
            guest.look(self.inner.id);
        }
        Ok(())
    }

    /// Takes receive queue `index` of a started port; `None` if it is taken, there is none, or the port is not started.
    pub fn take_rx(&mut self, index: u16) -> Option<RxQueue> {
        let free = self.stage == Stage::Started && std::mem::take(self.rx.get_mut(usize::from(index))?);
        free.then(|| RxQueue::new(Arc::clone(&self.inner), self.inner.id, index))
    }

    /// Takes transmit queue `index` of a started port; `None` if it is taken, there is none, or the port is not started.
    pub fn take_tx(&mut self, index: u16) -> Option<TxQueue> {
        let free = self.stage == Stage::Started && std::mem::take(self.tx.get_mut(usize::from(index))?);
        free.then(|| TxQueue::new(Arc::clone(&self.inner), self.inner.id, index, self.segments))
    }

    /// The machine behind a vhost device, whoever that is at a time; `None` of other devices.
    pub fn guest(&self) -> Option<Arc<Guest>> {
        self.inner.guest.clone()
    }

    /// DPDK's number of the port.
    pub fn id(&self) -> u16 {
        self.inner.id
    }

    /// The device string it was probed with.
    pub fn device(&self) -> &str {
        self.inner.device()
    }

    /// What the device is and can do.
    ///
    /// # Errors
    ///
    /// If the driver does not say.
    pub fn info(&self) -> Result<PortInfo, PortError> {
        let id = self.inner.id;
        let info = self.inner.describe()?;
        // SAFETY: the driver's name is a static string of the driver, null or terminated.
        let driver = (!info.driver.is_null()).then(|| unsafe { CStr::from_ptr(info.driver) });
        // SAFETY: the port is attached.
        let socket = unsafe { sys::rte_eth_dev_socket_id(id) };
        let l4 = sys::WARREN_OFFLOAD_RX_UDP | sys::WARREN_OFFLOAD_RX_TCP;
        Ok(PortInfo {
            device: self.inner.device.clone(),
            id,
            driver: driver.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            mac: self.inner.mac()?,
            socket: u32::try_from(socket).ok(),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            max_mtu: info.max_mtu,
            rx_ipv4_checksum: info.rx_offloads & sys::WARREN_OFFLOAD_RX_IPV4 != 0,
            rx_l4_checksum: info.rx_offloads & l4 == l4,
            tx_udp_checksum: info.tx_offloads & sys::WARREN_OFFLOAD_TX_UDP != 0,
            link_up: info.link_up != 0,
        })
    }

    /// The device's counters.
    ///
    /// # Errors
    ///
    /// If the driver does not say.
    pub fn stats(&self) -> Result<PortStats, PortError> {
        // SAFETY: all zeros are counters of nothing.
        let mut stats: sys::rte_eth_stats = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the port is attached; the counters are valid for the call.
        self.call("read the counters", unsafe { sys::rte_eth_stats_get(self.inner.id, &raw mut stats) })?;
        Ok(PortStats {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            rx_no_mbuf: stats.rx_nombuf,
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        })
    }
}

impl Port {
    /// Refuses a pool whose buffers can't hold a frame of `mtu`: a device would cut such frames, drop or chain them.
    fn check_room(&self, pool: &Mempool, mtu: u16) -> Result<(), PortError> {
        let room = u32::from(pool.data_room_bytes()).saturating_sub(sys::WARREN_HEADROOM.into());
        let needed = u32::from(mtu) + FRAME_OVERHEAD;
        if room < needed {
            return Err(self.error(Problem::Room { pool: pool.name().to_owned(), room, needed, mtu }));
        }
        Ok(())
    }

    /// Sets up queues of which there are `(count, descriptors)`.
    fn set_up_queues(&self, rx: (u16, u16), tx: (u16, u16), pool: &Mempool) -> Result<(), PortError> {
        let id = self.inner.id;
        // Before the device knows of the pool, so that it does not outlive it.
        self.inner.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        for queue in 0..rx.0 {
            // SAFETY: the port is configured for so many queues, and keeps the pool for as long as they exist.
            self.call("set up a receive queue", unsafe {
                sys::warren_rx_setup(id, queue, rx.1, pool.raw())
            })?;
        }
        for queue in 0..tx.0 {
            // SAFETY: the port is configured for so many queues.
            self.call("set up a transmit queue", unsafe { sys::warren_tx_setup(id, queue, tx.1) })?;
        }
        Ok(())
    }

    fn set_mtu(&self, mtu: Option<u16>) -> Result<MtuOutcome, PortError> {
        let id = self.inner.id;
        if let Some(mtu) = mtu {
            // SAFETY: the port is configured.
            let set = unsafe { sys::rte_eth_dev_set_mtu(id, mtu) };
            if !self.call_if_supported("set the MTU", set)? {
                return Ok(MtuOutcome::Fixed);
            }
        }
        let mut mtu = 0;
        // SAFETY: the port is attached; the number is valid for the call.
        self.call("read the MTU", unsafe { sys::rte_eth_dev_get_mtu(id, &raw mut mtu) })?;
        Ok(MtuOutcome::Is(mtu))
    }

    fn call(&self, action: &'static str, result: i32) -> Result<(), PortError> {
        self.inner.call(action, result)
    }

    /// Whether the driver did it; `false` where it has no such function.
    fn call_if_supported(&self, action: &'static str, result: i32) -> Result<bool, PortError> {
        if result == -libc::ENOTSUP {
            return Ok(false);
        }
        self.call(action, result).map(|()| true)
    }

    fn error(&self, problem: Problem) -> PortError {
        self.inner.error(problem)
    }
}

impl PortInner {
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    fn describe(&self) -> Result<sys::warren_device, PortError> {
        // SAFETY: all zeros is a description of nothing.
        let mut info: sys::warren_device = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the port is attached; the description is valid for the call.
        self.call("describe itself", unsafe { sys::warren_describe(self.id, &raw mut info) })?;
        Ok(info)
    }

    fn mac(&self) -> Result<Mac, PortError> {
        let mut address = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: the port is attached; the address is valid for the call.
        self.call("read the MAC address", unsafe { sys::rte_eth_macaddr_get(self.id, &raw mut address) })?;
        Ok(Mac(address.addr_bytes))
    }

    fn call(&self, action: &'static str, result: i32) -> Result<(), PortError> {
        Errno::check(result).map_err(|errno| self.error(Problem::Driver { action, errno }))
    }

    fn error(&self, problem: Problem) -> PortError {
        PortError { device: self.device.clone(), problem }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest {
            guest.unwatch(self.id);
        }
        let mut claimed = self.eal.claimed();
        // SAFETY: the last handle of the port is going, so that no queue is in use, and the lock keeps others from
        // attaching meanwhile.
        unsafe { sys::warren_detach(self.id) };
        claimed.retain(|&id| id != self.id);
    }
}

/// Whether a device is one of DPDK's vhost driver.
fn is_vhost(device: &str) -> bool {
    ["net_vhost", "eth_vhost"].iter().any(|driver| device.starts_with(driver))
}

/// The number of the port of `device`, whose name is what stands before the first comma, or for a PCI address in the short
/// form what that is short for.
fn port_id(device: &str) -> Option<u16> {
    let name = device.split(',').next().unwrap_or_default();
    [name.to_owned(), format!("0000:{name}")].into_iter().find_map(|name| {
        let name = CString::new(name).ok()?;
        let mut id = 0;
        // SAFETY: the name is a string, the number valid for the call.
        let found = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
        (found == 0).then_some(id)
    })
}
