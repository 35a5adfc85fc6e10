//! Binds DPDK (feature `dpdk`): finds the installed library with pkg-config, generates the declarations with bindgen and
//! compiles a shim for DPDK's inline functions. Without the feature it does nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    if let Err(problem) = dpdk::bind() {
        eprintln!("\nwarren's packet I/O needs DPDK, but {problem}\n");
        eprintln!("To build the packet core, `check` and `replay` without DPDK: --no-default-features");
        std::process::exit(1);
    }
}

#[cfg(feature = "dpdk")]
mod dpdk {
    use std::{
        env, panic,
        path::{Path, PathBuf},
        process::Command,
    };

    const WRAPPER: &str = "src/dpdk/wrapper.h";
    const SHIM: &str = "src/dpdk/shim.c";

    /// The libraries whose functions are called. Drivers are plugins, which the EAL loads when it starts; that of vhost is also
    /// asked who is behind its ports.
    const LIBRARIES: [&str; 6] =
        ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool", "rte_net_vhost", "rte_vhost"];

    const OLDEST: (u32, u32) = (22, 11);

    pub(super) fn bind() -> Result<(), String> {
        println!("cargo::rerun-if-changed={WRAPPER}");
        println!("cargo::rerun-if-changed={SHIM}");
        let library = find()?;
        let flags = compiler_flags()?;
        generate(&library, &flags)?;
        compile(&library, &flags)?;
        // After the shim, which a linker that goes from left to right needs resolved by them.
        for path in &library.link_paths {
            println!("cargo::rustc-link-search=native={}", path.display());
        }
        for name in LIBRARIES {
            println!("cargo::rustc-link-lib={name}");
        }
        Ok(())
    }

    fn find() -> Result<pkg_config::Library, String> {
        let library = pkg_config::Config::new()
            .cargo_metadata(false)
            .env_metadata(true)
            .probe("libdpdk")
            .map_err(|error| match error {
                pkg_config::Error::Command { .. } => {
                    missing("pkg-config did not run", "pkg-config", "pkgconf-pkg-config")
                }
                pkg_config::Error::Failure { .. } | pkg_config::Error::ProbeFailure { .. } => missing(
                    "pkg-config does not find libdpdk (if it is in a place of its own, set PKG_CONFIG_PATH)",
                    "libdpdk-dev",
                    "dpdk-devel",
                ),
                other => format!("pkg-config failed: {other}"),
            })?;
        let mut numbers = library.version.split(['.', '-']).map_while(|part| part.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < OLDEST {
            return Err(missing(
                &format!(
                    "libdpdk is {}, older than {}.{}, which Debian 12 and Ubuntu 24.04 have",
                    library.version, OLDEST.0, OLDEST.1
                ),
                "libdpdk-dev",
                "dpdk-devel",
            ));
        }
        Ok(library)
    }

    /// What the inline functions need besides include paths (`-include rte_config.h`, `-march=…`), which the crate does
    /// not hand on.
    fn compiler_flags() -> Result<Vec<String>, String> {
        let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
        let output = Command::new(program)
            .args(["--cflags-only-other", "libdpdk"])
            .output()
            .map_err(|error| format!("pkg-config --cflags-only-other libdpdk failed: {error}"))?;
        let mut flags: Vec<String> =
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect();
        // pkgconf counts `-include FILE` among the include paths, and so leaves it out here.
        if !flags.iter().any(|flag| flag == "-include") {
            flags.extend(["-include".to_owned(), "rte_config.h".to_owned()]);
        }
        Ok(flags)
    }

    fn generate(library: &pkg_config::Library, flags: &[String]) -> Result<(), String> {
        // bindgen panics where it finds no libclang.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let found = panic::catch_unwind(bindgen::clang_version);
        panic::set_hook(hook);
        if found.is_err() {
            return Err(missing(
                "bindgen finds no libclang (if it is in a place of its own, set LIBCLANG_PATH)",
                "libclang-dev",
                "clang-devel",
            ));
        }
        bindgen::Builder::default()
            .header(WRAPPER)
            .clang_args(library.include_paths.iter().map(|path| format!("-I{}", path.display())))
            .clang_args(flags)
            .allowlist_function("warren_.*")
            .allowlist_function("rte_eal_(init|cleanup|get_runtime_dir)")
            .allowlist_function("rte_thread_(un)?register")
            .allowlist_function("rte_dev_probe|rte_version")
            .allowlist_function("rte_pktmbuf_pool_create")
            .allowlist_function("rte_mempool_(avail|in_use)_count")
            .allowlist_function(
                "rte_eth_dev_(start|socket_id|[gs]et_mtu|get_port_by_name|adjust_nb_rx_tx_desc)",
            )
            .allowlist_function(
                "rte_eth_dev_default_mac_addr_set|rte_eth_(macaddr_get|promiscuous_enable|stats_get)",
            )
            .allowlist_function("rte_vhost_driver_disable_features")
            .allowlist_var("WARREN_.*")
            .blocklist_type("warren_refcnt")
            .raw_line("pub type warren_refcnt = core::sync::atomic::AtomicU16;")
            .opaque_type("rte_mempool")
            .use_core()
            .derive_debug(false)
            .generate_comments(false)
            .layout_tests(true)
            .wrap_unsafe_ops(true)
            .rust_edition(bindgen::RustEdition::Edition2024)
            .formatter(bindgen::Formatter::None)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .generate()
            .map_err(|error| format!("bindgen failed on {WRAPPER}: {error}"))?
            .write_to_file(out_dir().join("dpdk.rs"))
            .map_err(|error| format!("the bindings could not be written: {error}"))
    }

    fn compile(library: &pkg_config::Library, flags: &[String]) -> Result<(), String> {
        let mut build = cc::Build::new();
        build.file(SHIM).includes(&library.include_paths).warnings(false);
        for flag in flags {
            build.flag(flag);
        }
        build.try_get_compiler().and_then(|_| build.try_compile("warren_shim")).map_err(|error| {
            missing(&format!("{SHIM} does not compile: {error}"), "gcc libc6-dev", "gcc glibc-devel")
        })
    }

    fn missing(what: &str, debian: &str, fedora: &str) -> String {
        format!("{what}.\n  Debian, Ubuntu: apt-get install {debian}\n  Fedora:         dnf install {fedora}")
    }

    fn out_dir() -> PathBuf {
        Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).to_owned()
    }
}
