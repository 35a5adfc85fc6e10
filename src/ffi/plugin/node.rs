//! Opening and closing a host, and what is asked of it besides packets.

use std::{
    ffi::{CStr, CString, OsStr, c_char},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    WARREN_CONTROL_SOCKET, WARREN_ROLE_CONTROL, WARREN_ROLE_GATEWAY, WARREN_ROLE_INSTANCE,
    WARREN_ROLE_SERVICE, WARREN_ROLE_UPLINK, WARREN_VERSION,
    error::{
        Failure, WARREN_BUSY, WARREN_DEVICE, WARREN_HOST, WARREN_PANIC, WARREN_PORT, WARREN_STATE,
        WARREN_SYSTEM, guarded, null, warren_error,
    },
    log,
    sized::{self, Out},
    warren_applied, warren_counters, warren_device, warren_options, warren_port,
};
use crate::{
    api::Reply,
    dpdk::Mbuf,
    model::{self, Document, Model},
    node::{
        config::{HostConfig, PortConfig, RoleConfig},
        embedded::{Device, Node, OpenError, Setup},
    },
    packet::Mac,
    pipeline::Reason,
    tables::PortIndex,
};

/// A host that the program is a part of. Its functions may be called by any thread at any time, but for warren_close(). Several hosts
/// in one program have nothing in common.
pub struct warren {
    pub(super) node: Node<Mbuf>,
    /// By port: its name, and its device's.
    names: Vec<(CString, CString)>,
    /// Workers that are open.
    pub(super) open: Arc<AtomicUsize>,
}

/// Any thread may use it, several at once.
const _: fn() = || {
    const fn shared<T: Send + Sync>() {}
    shared::<warren>();
};

/// The library's version; see WARREN_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn warren_version() -> u32 {
    WARREN_VERSION
}

/// Opens a host: reads the host file and the state, has the program open the ports' devices, and starts the management
/// thread. Writes the host to `*host`; NULL where it fails. The devices are the program's, also then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_open(
    options: *const warren_options,
    host: *mut *mut warren,
    error: *mut warren_error,
) -> i32 {
    let open = || {
        // SAFETY: what is not NULL is as the header says.
        let host = unsafe { host.as_mut() }.ok_or_else(|| null("host"))?;
        *host = ptr::null_mut();
        // SAFETY: as above.
        let options = unsafe { sized::read(options, "options")? };
        // SAFETY: as above.
        *host = Box::into_raw(Box::new(unsafe { open(&options)? }));
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, open) }
}

/// Closes a host, which must not be used any more: its workers are closed before, and its mempools and the EAL live until then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_close(host: *mut warren, error: *mut warren_error) -> i32 {
    let close = || {
        // SAFETY: what is not NULL is as the header says.
        let open = unsafe { host.as_ref() }.ok_or_else(|| null("host"))?.open.load(Ordering::Acquire);
        if open > 0 {
            let text = format!("{open} workers are open; call warren_worker_close() for each before");
            return Err(Failure::new(WARREN_BUSY, text));
        }
        // SAFETY: it came from `Box::into_raw` and is not used any more.
        drop(unsafe { Box::from_raw(host) });
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, close) }
}

/// How many workers the host has; 0 if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_workers(host: *const warren) -> u32 {
    // SAFETY: what is not NULL is as the header says.
    unsafe { host.as_ref() }.map_or(0, |host| host.node.workers() as u32)
}

/// How many ports the host has; 0 if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_ports(host: *const warren) -> u32 {
    // SAFETY: what is not NULL is as the header says.
    unsafe { host.as_ref() }.map_or(0, |host| host.names.len() as u32)
}

/// Describes a port, in a struct whose `size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_port_info(
    host: *const warren,
    index: u16,
    port: *mut warren_port,
    error: *mut warren_error,
) -> i32 {
    let describe = || {
        // SAFETY: what is not NULL is as the header says.
        let (host, port) = unsafe { (the(host)?, Out::new(port, "port")?) };
        let known = host.node.config().ports.get(usize::from(index)).zip(host.names.get(usize::from(index)));
        let (config, names) = known.ok_or_else(|| no_port(host, index))?;
        port.write(&port_info(config, names, index, host.node.workers()));
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, describe) }
}

/// Puts a state in force, a file or a folder, as `warren apply` does: whole or not at all. Waits up to a second until all workers
/// use it, so it must not be called on the thread of a worker, unless warren_quiesce() was called there since its last
/// warren_process(). `applied` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_apply(
    host: *const warren,
    state: *const c_char,
    applied: *mut warren_applied,
    error: *mut warren_error,
) -> i32 {
    let apply = || {
        // SAFETY: what is not NULL is as the header says.
        let (host, state) = unsafe { (the(host)?, path(state)?.ok_or_else(|| null("state"))?) };
        // SAFETY: as above.
        unsafe { put_in_force(host, load(&state)?, applied) }
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, apply) }
}

/// As warren_apply(), with a state document of `length` bytes in memory, YAML or JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_apply_text(
    host: *const warren,
    text: *const c_char,
    length: usize,
    applied: *mut warren_applied,
    error: *mut warren_error,
) -> i32 {
    let apply = || {
        if text.is_null() {
            return Err(null("text"));
        }
        // SAFETY: what is not NULL is as the header says.
        let (host, bytes) = unsafe { (the(host)?, std::slice::from_raw_parts(text.cast::<u8>(), length)) };
        let text = str::from_utf8(bytes)
            .map_err(|error| Failure::new(WARREN_STATE, format!("the document is not UTF-8: {error}")))?;
        let document = Document { name: "document".to_owned(), text: text.to_owned() };
        let model =
            model::load(&[document]).map_err(|errors| Failure::new(WARREN_STATE, errors.to_string()))?;
        // SAFETY: as above.
        unsafe { put_in_force(host, model, applied) }
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, apply) }
}

/// Reads what was counted at a port since the host was opened, in a struct whose `size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_port_counters(
    host: *const warren,
    port: u16,
    counters: *mut warren_counters,
    error: *mut warren_error,
) -> i32 {
    let read = || {
        // SAFETY: what is not NULL is as the header says.
        let (host, counters) = unsafe { (the(host)?, Out::new(counters, "counters")?) };
        let counted = host.node.counters(PortIndex(port)).ok_or_else(|| no_port(host, port))?;
        counters.write(&warren_counters {
            size: size_of::<warren_counters>(),
            rx_packets: counted.rx_packets,
            rx_bytes: counted.rx_bytes,
            tx_packets: counted.tx_packets,
            tx_bytes: counted.tx_bytes,
            dropped: counted.drops.iter().sum(),
        });
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, read) }
}

/// Reads how many packets were dropped at a port, by reason, into an array of warren_reasons() numbers: `count` says that it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_drops(
    host: *const warren,
    port: u16,
    drops: *mut u64,
    count: u32,
    error: *mut warren_error,
) -> i32 {
    let read = || {
        if drops.is_null() {
            return Err(null("drops"));
        }
        if count as usize != Reason::COUNT {
            return Err(Failure::argument(format!(
                "count: {count}, but warren_reasons() is {}; make the array so long",
                Reason::COUNT
            )));
        }
        // SAFETY: what is not NULL is as the header says.
        let (host, drops) = unsafe { (the(host)?, std::slice::from_raw_parts_mut(drops, Reason::COUNT)) };
        let counted = host.node.counters(PortIndex(port)).ok_or_else(|| no_port(host, port))?;
        drops.copy_from_slice(&counted.drops);
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, read) }
}

/// How many reasons for drops there are.
#[unsafe(no_mangle)]
pub extern "C" fn warren_reasons() -> u32 {
    Reason::COUNT as u32
}

/// The name of a reason, as `warren show drops` has it; NULL if there is none of that number. Numbers differ between versions.
#[unsafe(no_mangle)]
pub extern "C" fn warren_reason(number: u32) -> *const c_char {
    Reason::ALL.get(number as usize).map_or(ptr::null(), |reason| reason.c_name().as_ptr())
}

/// # Safety
///
/// Pointers in `options` are as the header says.
unsafe fn open(options: &warren_options) -> Result<warren, Failure> {
    if options.flags & !WARREN_CONTROL_SOCKET != 0 {
        let text =
            format!("options.flags: {:#x} has bits that mean nothing; set WARREN_... only", options.flags);
        return Err(Failure::argument(text));
    }
    // SAFETY: as the caller promises.
    let (host_file, state) = unsafe { (path(options.host_file)?, path(options.state)?) };
    let host_file = host_file.ok_or_else(|| null("options.host_file"))?;
    let config =
        HostConfig::read(&host_file).map_err(|error| Failure::new(WARREN_HOST, error.to_string()))?;
    let model = load(state.as_deref().unwrap_or(&config.state))?;
    let workers = if options.workers == 0 { config.workers.count() } else { options.workers as usize };
    let text = |text: &str| {
        CString::new(text).map_err(|_| Failure::new(WARREN_HOST, "a NUL in a port's name or device"))
    };
    let names = config.ports.iter().map(|port| Ok((text(&port.name)?, text(&port.device)?)));
    let names = names.collect::<Result<Vec<_>, Failure>>()?;
    let mut devices = Vec::new();
    for ((port, names), index) in config.ports.iter().zip(&names).zip(0..) {
        // SAFETY: as the caller promises.
        let device = unsafe { open_port(options, &port_info(port, names, index, workers)) };
        devices.push(device.map_err(|code| {
            let name = &port.name;
            let text =
                format!("port `{name}`: the program did not open its device: open_port returned {code}");
            Failure::new(WARREN_DEVICE, text)
        })?);
    }
    let cpus = if options.cpus.is_null() {
        Vec::new()
    } else {
        // SAFETY: as the caller promises.
        let cpus = unsafe { std::slice::from_raw_parts(options.cpus, options.cpu_count) };
        cpus.iter().map(|&cpu| cpu as usize).collect()
    };
    let setup = Setup {
        config,
        model,
        devices,
        workers,
        cpus,
        control: options.flags & WARREN_CONTROL_SOCKET != 0,
        log: options.log.map(|to| log::to_program(to, options.user)),
    };
    let node = Node::open(setup).map_err(|error| match error {
        OpenError::Host(problem) => Failure::new(WARREN_HOST, problem),
        OpenError::System(problem) => Failure::new(WARREN_SYSTEM, problem),
    })?;
    Ok(warren { node, names, open: Arc::default() })
}

/// Has the program open a device; what it returns if it doesn't.
///
/// # Safety
///
/// As [`open`].
unsafe fn open_port(options: &warren_options, port: &warren_port) -> Result<Device, i32> {
    let mut device = warren_device { mac: port.mac, segments: 0, udp_checksum: 0 };
    if let Some(open) = options.open_port {
        // SAFETY: the program's function, called as the header says.
        let code = unsafe { open(options.user, port, &raw mut device) };
        if code != 0 {
            return Err(code);
        }
    }
    Ok(Device {
        mac: Mac(device.mac),
        udp_checksum: device.udp_checksum != 0,
        segments: device.segments != 0,
    })
}

fn port_info(port: &PortConfig, names: &(CString, CString), index: u16, workers: usize) -> warren_port {
    warren_port {
        size: size_of::<warren_port>(),
        name: names.0.as_ptr(),
        device: names.1.as_ptr(),
        index,
        mtu: port.mtu,
        queues: port.queues_for(workers) as u16,
        has_mac: port.mac.is_some().into(),
        mac: port.mac.unwrap_or_default().0,
        role: match port.role {
            RoleConfig::Instance => WARREN_ROLE_INSTANCE,
            RoleConfig::Uplink(_) => WARREN_ROLE_UPLINK,
            RoleConfig::Service(_) => WARREN_ROLE_SERVICE,
            RoleConfig::Gateway(_) => WARREN_ROLE_GATEWAY,
            RoleConfig::Control => WARREN_ROLE_CONTROL,
        },
        owner: u32::from(index) % workers.max(1) as u32,
    }
}

fn load(state: &Path) -> Result<Model, Failure> {
    model::read_documents(&[state.to_owned()])
        .and_then(|documents| model::load(&documents))
        .map_err(|errors| Failure::new(WARREN_STATE, errors.to_string()))
}

/// # Safety
///
/// `applied` is NULL or may be written.
unsafe fn put_in_force(host: &warren, model: Model, applied: *mut warren_applied) -> Result<(), Failure> {
    let applied = if applied.is_null() {
        None
    } else {
        // SAFETY: as the caller promises.
        Some(unsafe { Out::new(applied, "applied")? })
    };
    let reply = host.node.apply(model).ok_or_else(|| {
        Failure::new(WARREN_PANIC, "the management thread ended by a fault of Warren's: open the host anew")
    })?;
    let done = match reply {
        Reply::Applied(done) => done,
        Reply::Failed(problem) => return Err(Failure::new(WARREN_STATE, problem)),
        other => return Err(Failure::new(WARREN_STATE, format!("{other:?} to a state"))),
    };
    if let Some(applied) = applied {
        let count =
            |key: &str| done.difference.get(key).and_then(|it| it.as_array()).map_or(0, Vec::len) as u32;
        applied.write(&warren_applied {
            size: size_of::<warren_applied>(),
            generation: done.generation,
            late: done.laggards.len() as u32,
            added: count("added"),
            removed: count("removed"),
            changed: count("changed"),
        });
    }
    Ok(())
}

fn no_port(host: &warren, port: u16) -> Failure {
    let text = format!("there is no port {port}; the host file has {}, from 0 on", host.names.len());
    Failure::new(WARREN_PORT, text)
}

/// # Safety
///
/// `host` is NULL or open.
unsafe fn the<'a>(host: *const warren) -> Result<&'a warren, Failure> {
    // SAFETY: as the caller promises.
    unsafe { host.as_ref() }.ok_or_else(|| null("host"))
}

/// # Safety
///
/// `text` is NULL or a string.
unsafe fn path(text: *const c_char) -> Result<Option<PathBuf>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    Ok(Some(PathBuf::from(OsStr::from_bytes(text.to_bytes()))))
}
