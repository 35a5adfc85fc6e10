//! DPDK's environment abstraction layer: memory, logical cores, drivers.

use std::{
    cell::Cell,
    ffi::{CStr, CString, OsStr, c_char},
    fmt, fs,
    marker::PhantomData,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{Errno, HugepageMode, hugepages::Turn, mempool::RawPool, sys};
use crate::machine::hugepages::is_option;

/// How to start the EAL.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// The program's name in EAL's messages.
    pub program: String,
    /// EAL arguments, handed on as they are (`--no-pci`, `-a 0000:01:00.0`, `--vdev=…`).
    pub args: Vec<String>,
    /// The name that keeps this process's files in `/var/run/dpdk` apart from those of others.
    pub file_prefix: Option<String>,
    /// The CPUs the calling thread may run on from then on. Empty: those it may run on now. Without meaning where `args`
    /// choose the cores.
    pub main_cpus: Vec<usize>,
    /// MiB of memory that the packet buffers and the devices need in all. So much must be free in hugepages for them to
    /// be used; otherwise the EAL gets as much in ordinary pages.
    pub memory_mib: u32,
    /// What EAL and the drivers print on standard error.
    pub log_level: LogLevel,
    /// Whether EAL serves telemetry on a socket in `/var/run/dpdk`.
    pub telemetry: bool,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            program: "warren".to_owned(),
            args: Vec::new(),
            file_prefix: None,
            main_cpus: Vec::new(),
            memory_mib: 512,
            log_level: LogLevel::Warning,
            telemetry: false,
        }
    }
}

/// The least severe messages that EAL and the drivers print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// What probably is not as intended.
    Warning,
    /// What is worth to know in normal running.
    Notice,
    /// What EAL does.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The EAL could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EalError {
    /// The process has had its one EAL.
    AlreadyInitialised,
    /// An argument contains a NUL character.
    Argument(String),
    /// EAL refused; it has said why on standard error.
    Init {
        /// The arguments it was given.
        args: Vec<String>,
        /// Its error number.
        errno: Errno,
    },
}

impl fmt::Display for EalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInitialised => {
                f.write_str("DPDK can be started once per process, and this one has done so: share its Eal")
            }
            Self::Argument(arg) => write!(f, "EAL argument {arg:?} contains a NUL character: remove it"),
            Self::Init { args, errno } => {
                write!(f, "DPDK's EAL does not start with {}: {errno}; ", args.join(" "))?;
                f.write_str(match errno.0 {
                    libc::EINVAL => "its message above names the argument to correct",
                    libc::EACCES | libc::EPERM => "run it as root, or with --in-memory and free hugepages",
                    libc::ENOMEM => "ask for less memory, or reserve more hugepages (vm.nr_hugepages)",
                    libc::EAGAIN | libc::EBUSY | libc::EEXIST => {
                        "another DPDK process may use the same --file-prefix: choose another"
                    }
                    _ => "its message above says more",
                })
            }
        }
    }
}

impl std::error::Error for EalError {}

/// The process's EAL. Its clones, the pools, ports, queues and thread registrations share it. With the
/// last of them it is cleaned up, unless an [`Mbuf`](super::Mbuf) is still out.
#[derive(Clone, Debug)]
pub struct Eal {
    inner: Arc<EalInner>,
    hugepages: HugepageMode,
}

#[derive(Debug)]
pub(super) struct EalInner {
    /// The ports that have a `Port`; held while devices are attached and detached, which EAL does not lock itself.
    claimed: Mutex<Vec<u16>>,
    /// All pools ever made.
    pools: Mutex<Vec<RawPool>>,
    /// Until the first of them has its memory, which is most of what the process takes.
    turn: Mutex<Option<Turn>>,
}

impl Eal {
    /// Starts the EAL on the calling thread, which becomes its main logical core. This takes 0.15 s, most of which EAL
    /// measures the time-stamp counter.
    ///
    /// # Errors
    ///
    /// On a second call in one process, and where EAL refuses the arguments or finds no memory.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        // Else it would wait for a turn that this process may have itself.
        if INITIALISED.load(Ordering::Acquire) {
            return Err(EalError::AlreadyInitialised);
        }
        let turn = Turn::take();
        let (hugepages, args) = config.arguments();
        let mut strings = Vec::with_capacity(args.len());
        for arg in &args {
            strings.push(CString::new(arg.as_str()).map_err(|_| EalError::Argument(arg.clone()))?);
        }
        if INITIALISED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyInitialised);
        }
        // EAL permutes the pointers and keeps some: they and the strings stay for the life of the process.
        let argv: Vec<*mut c_char> =
            strings.into_iter().map(CString::into_raw).chain([std::ptr::null_mut()]).collect();
        let argv = argv.leak();
        // SAFETY: `argv` is a null-terminated array of strings that live on, and this is the process's only call.
        let parsed = unsafe { sys::rte_eal_init(args.len() as i32, argv.as_mut_ptr()) };
        if parsed < 0 {
            return Err(EalError::Init { args, errno: Errno::last() });
        }
        let inner = EalInner { claimed: Mutex::default(), pools: Mutex::default(), turn: Mutex::new(turn) };
        Ok(Self { inner: Arc::new(inner), hugepages })
    }

    /// What memory it runs on.
    pub const fn hugepages(&self) -> &HugepageMode {
        &self.hugepages
    }

    /// Gives the calling thread a logical core of its own until the guard goes, and with it a cache in every mempool:
    /// each worker does this before it touches a packet.
    ///
    /// # Errors
    ///
    /// If the thread has one (the EAL's main thread has), or there are none left (128 in most builds).
    pub fn register_thread(&self) -> Result<ThreadGuard, RegisterError> {
        // SAFETY: reads a thread-local variable of the EAL, which exists in every thread.
        if unsafe { sys::warren_lcore_id() } != sys::WARREN_LCORE_ANY {
            return Err(RegisterError::AlreadyRegistered);
        }
        // SAFETY: the EAL is initialised, and the thread has no logical core.
        if unsafe { sys::rte_thread_register() } < 0 {
            return Err(RegisterError::Refused(Errno::last()));
        }
        REGISTERED.set(true);
        Ok(ThreadGuard { _eal: Arc::clone(&self.inner), _not_send: PhantomData })
    }

    pub(super) const fn inner(&self) -> &Arc<EalInner> {
        &self.inner
    }
}

impl EalInner {
    pub(super) fn claimed(&self) -> MutexGuard<'_, Vec<u16>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, pool: RawPool) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether all buffers are back in their pools, for good. Nothing but an `Mbuf` is left that could touch a pool, in a
    /// thread that is not registered: one that began to give it back before or while the pools are counted shows in the
    /// counters, one that has not is out and shows in its pool.
    fn is_quiet(&mut self) -> bool {
        let begun = BEGUN.load(Ordering::SeqCst);
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        DONE.load(Ordering::SeqCst) == begun
            && pools.iter().all(|pool| pool.in_use() == 0)
            && BEGUN.load(Ordering::SeqCst) == begun
    }
}

/// Whether the EAL was started here. A program that Warren is a part of starts, and cleans up, its own.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// How often threads that are not registered have begun, and ended, to give buffers back.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether the thread has a [`ThreadGuard`], and so keeps the EAL.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `free`, which gives buffers back. That they exist does not keep the EAL alive: a registered thread does, and
/// others count themselves in and out so that the EAL is not cleaned up under them.
#[inline]
pub(super) fn give_back(free: impl FnOnce()) {
    if REGISTERED.get() || !INITIALISED.load(Ordering::Relaxed) {
        free();
    } else {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        free();
        DONE.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for EalInner {
    fn drop(&mut self) {
        if !self.is_quiet() {
            return;
        }
        // SAFETY: the EAL is initialised; its directory's name is a string that its clean-up keeps.
        let runtime_dir = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
        // SAFETY: every handle held an `Arc` of this, so that no pool, port, queue or registration is left, nor a buffer.
        unsafe { sys::rte_eal_cleanup() };
        // EAL leaves it behind. It goes if it is empty: others of the same prefix may use it.
        let _ = fs::remove_dir(OsStr::from_bytes(runtime_dir.to_bytes()));
    }
}

impl EalConfig {
    fn arguments(&self) -> (HugepageMode, Vec<String>) {
        const CORES: [&str; 5] = ["--lcores", "-l", "-c", "-s", "-S"];

        let (hugepages, chosen) = HugepageMode::choose(&self.args, self.memory_mib);
        let mut args = vec![self.program.clone()];
        args.extend(chosen);
        if let Some(prefix) = &self.file_prefix {
            args.push(format!("--file-prefix={prefix}"));
        }
        let chooses_cores = |arg: &String| {
            CORES
                .iter()
                .any(|option| is_option(arg, option) || (option.len() == 2 && arg.starts_with(option)))
        };
        if !self.args.iter().any(chooses_cores) {
            // EAL would start, and pin, a thread for every other core.
            let cpus = if self.main_cpus.is_empty() {
                allowed_cpus()
            } else {
                Some(self.main_cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
            };
            args.extend(cpus.map(|cpus| format!("--lcores=0@({cpus})")));
        }
        args.push(format!("--log-level={}", self.log_level.name()));
        args.push(if self.telemetry { "--telemetry" } else { "--no-telemetry" }.to_owned());
        (hugepages, args)
    }
}

/// The version of the DPDK that this is linked to, such as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: it returns a string that is written once, by the first call, and stays; needs no EAL.
    unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
}

/// The CPUs that the calling thread may run on, as a list of ranges.
fn allowed_cpus() -> Option<String> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(|list| list.trim().to_owned())
}

/// A thread could not be registered with the EAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// It has a logical core.
    AlreadyRegistered,
    /// EAL refused.
    Refused(Errno),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered => {
                f.write_str("this thread is registered with DPDK: register each thread once")
            }
            Self::Refused(errno) => {
                write!(f, "DPDK does not register this thread: {errno}; ")?;
                f.write_str("run fewer workers, and no secondary DPDK process")
            }
        }
    }
}

impl std::error::Error for RegisterError {}

/// The calling thread's registration with the EAL, which ends when this is dropped.
#[derive(Debug)]
pub struct ThreadGuard {
    _eal: Arc<EalInner>,
    /// It is the registering thread's.
    _not_send: PhantomData<*mut ()>,
}

impl ThreadGuard {
    /// The number of the thread's logical core.
    pub fn lcore_id(&self) -> u32 {
        // SAFETY: reads a thread-local variable of the EAL.
        unsafe { sys::warren_lcore_id() }
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        REGISTERED.set(false);
        // SAFETY: the guard can't leave the thread that registered itself.
        unsafe { sys::rte_thread_unregister() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_cores_stay() {
        let config = EalConfig { args: vec!["--no-huge".into(), "-l0".into()], ..EalConfig::default() };
        let (_, args) = config.arguments();
        assert_eq!(args, ["warren", "--no-huge", "-l0", "--log-level=warning", "--no-telemetry"]);
    }

    #[test]
    fn main_cpus_and_prefix_become_arguments() {
        let config = EalConfig {
            args: vec!["--no-huge".into(), "--no-pci".into()],
            file_prefix: Some("a".into()),
            main_cpus: vec![2, 3],
            telemetry: true,
            ..EalConfig::default()
        };
        let (_, args) = config.arguments();
        assert!(
            args.contains(&"--lcores=0@(2,3)".to_owned()) && args.contains(&"--file-prefix=a".to_owned())
        );
        assert!(args.contains(&"--telemetry".to_owned()));
    }
}
