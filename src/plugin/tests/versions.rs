//! Programs of earlier versions. A folder of `versions/` is what one was: its header, its symbols, and a program that uses all of it. The
//! present version's is made with `WARREN_BLESS=1` until it is released, and is never written again then.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{built, compare, files, gcc, interface::Interface, library, package, run};

/// The plugin's version.
fn present() -> String {
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    version.unwrap().trim_matches('"').to_owned()
}

/// Whether programs may have been built with it: the changelog has it under its own name, no longer as what comes.
fn is_released(version: &str) -> bool {
    let changelog = fs::read_to_string(package().join("../../CHANGELOG.md")).unwrap();
    changelog.lines().any(|line| line.starts_with(&format!("## [{version}]")))
}

/// The folders of all versions, the present one's too.
fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(package().join("versions")).unwrap();
    let mut versions: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    versions
}

/// Functions of a file that are defined, or that it wants, as `warren_open@@WARREN_0.1` or `warren_open@WARREN_0.1`.
fn functions(file: &Path, which: &str) -> BTreeSet<String> {
    let output = run(Command::new("nm").args(["-D", which, "--with-symbol-versions"]).arg(file));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().last());
    names.filter(|name| name.starts_with("warren_")).map(str::to_owned).collect()
}

/// The library's SONAME and functions.
fn exported() -> BTreeSet<String> {
    let file = library().join("lib/libwarren.so");
    let output = run(Command::new("readelf").arg("-d").arg(&file));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("(SONAME)")).unwrap();
    let mut symbols = functions(&file, "--defined-only");
    symbols.extend(line.split(['[', ']']).nth(1).map(str::to_owned));
    symbols
}

/// An interface that is kept.
fn kept(folder: &Path) -> Interface {
    let symbols = fs::read_to_string(folder.join("symbols.txt")).unwrap_or_default();
    Interface::read(folder, symbols.lines().map(str::to_owned).collect())
}

#[test]
fn a_program_of_an_earlier_version_finds_all_that_it_knows() {
    let version = present();
    let folder = format!("versions/{version}");
    if env::var_os("WARREN_BLESS").is_some() {
        assert!(
            !is_released(&version),
            "{version} has been released: give Cargo.toml the next version first"
        );
        fs::create_dir_all(package().join(&folder)).unwrap();
    }
    let header = fs::read_to_string(package().join("warren.h")).unwrap();
    let now = Interface::read(package(), exported());
    compare(&format!("{folder}/warren.h"), &header);
    compare(
        &format!("{folder}/symbols.txt"),
        &now.symbols.iter().map(|it| format!("{it}\n")).collect::<String>(),
    );
    for folder in versions() {
        let broken = kept(&folder).broken_by(&now);
        assert!(
            broken.is_empty(),
            "{}: what programs are compiled with stays, or the SONAME changes\n{broken:#?}",
            folder.display()
        );
    }
}

/// What the linker had of the library in a version: names of functions, and of their versions. A program that is linked with it
/// wants just those.
fn stub(folder: &Path, into: &Path) {
    let symbols = fs::read_to_string(folder.join("symbols.txt")).unwrap();
    let soname = symbols.lines().find(|line| line.starts_with("libwarren.so.")).unwrap();
    let functions: Vec<_> = symbols.lines().filter_map(|line| line.split_once("@@")).collect();
    let source: String = functions.iter().map(|(name, _)| format!("void {name}(void) {{}}\n")).collect();
    let nodes: BTreeSet<_> = functions.iter().map(|(_, version)| version).collect();
    let node = |version: &&str| {
        let names = functions.iter().filter(|(_, of)| of == version).map(|(name, _)| format!("{name};"));
        format!("{version} {{ global: {} }};\n", names.collect::<String>())
    };
    fs::create_dir_all(into).unwrap();
    fs::write(into.join("stub.c"), source).unwrap();
    fs::write(into.join("stub.map"), nodes.into_iter().map(node).collect::<String>()).unwrap();
    run(Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(into.join("libwarren.so"))
        .arg(into.join("stub.c"))
        .arg(format!("-Wl,-soname,{soname}"))
        .arg(format!("-Wl,--version-script={}", into.join("stub.map").display())));
}

/// What pkg-config says of DPDK.
fn dpdk(which: &str) -> Vec<String> {
    let output = run(Command::new("pkg-config").args([which, "libdpdk"]));
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// The program is as if it had been built when its version was the last: with that header, and for that library.
#[test]
fn a_program_of_an_earlier_version_runs_with_this_library() {
    for folder in versions() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let then = built().join(format!("then-{name}"));
        stub(&folder, &then);
        let program = then.join("program");
        run(gcc(&folder, &program)
            .arg(folder.join("program.c"))
            .args(dpdk("--cflags"))
            .arg(format!("-L{}", then.display()))
            .arg("-lwarren")
            .args(dpdk("--libs-only-L"))
            .args(["-lrte_eal", "-lrte_mbuf", "-lrte_mempool"]));
        let (wanted, known) = (functions(&program, "--undefined-only"), kept(&folder).symbols);
        for function in known.iter().filter(|symbol| symbol.contains("@@")) {
            assert!(
                wanted.contains(&function.replace("@@", "@")),
                "{name}/program.c does not use {function}"
            );
        }
        let files = files();
        // DPDK has a folder for what runs.
        run(Command::new(&program)
            .arg(files.path())
            .env("RUNTIME_DIRECTORY", files.path())
            .env("LD_LIBRARY_PATH", library().join("lib")));
    }
}

/// What a change of the header breaks.
fn changed(from: &str, to: &str) -> Vec<String> {
    let folder = versions().remove(0);
    let header = fs::read_to_string(folder.join("warren.h")).unwrap();
    assert!(header.contains(from), "the header has no `{from}`");
    let altered = tempfile::tempdir().unwrap();
    fs::write(altered.path().join("warren.h"), header.replacen(from, to, 1)).unwrap();
    let old = kept(&folder);
    let new = Interface::read(altered.path(), old.symbols.clone());
    assert!(!old.is_same(&new), "`{to}` instead of `{from}` is not noticed");
    old.broken_by(&new)
}

#[test]
fn a_header_that_breaks_programs_is_named() {
    let breaking = [
        ("    uint16_t mtu;\n", "", "warren_port.mtu was"),
        (
            "    uint16_t mtu;\n    // Rec",
            "    uint16_t more;\n    uint16_t mtu;\n    // Rec",
            "warren_port.mtu was",
        ),
        // As large, and where it was.
        ("uint64_t rx_bytes", "int64_t rx_bytes", "warren_counters.rx_bytes was"),
        // What an older program leaves undefined.
        (
            "    uint16_t port;\n}",
            "    uint16_t port;\n    uint16_t more;\n}",
            "warren_burst.more is new, but",
        ),
        // Nobody says how large it is.
        (
            "    uint8_t udp_checksum;\n",
            "    uint8_t udp_checksum;\n    uint8_t more;\n",
            "struct warren_device had 8",
        ),
        (
            "struct warren_applied {",
            "struct warren_applied;\nstruct warren_done {",
            "struct warren_applied is gone",
        ),
        ("WARREN_BUSY -7", "WARREN_BUSY -17", "WARREN_BUSY was -7, is Some(-17)"),
        ("uint32_t warren_ports(", "uint64_t warren_ports(", "warren_ports() was"),
        ("uint32_t warren_reasons(void);", "", "warren_reasons() was"),
    ];
    for (from, to, text) in breaking {
        let broken = changed(from, to);
        assert!(broken.iter().any(|broken| broken.starts_with(text)), "{text}: {broken:?}");
    }
}

#[test]
fn a_header_that_only_adds_breaks_nothing() {
    let added = [
        ("    size_t cpu_count;\n", "    size_t cpu_count;\n    uint64_t more;\n"),
        ("uint32_t warren_reasons(void);", "uint32_t warren_reasons(void);\nuint32_t warren_more(void);"),
        ("#define WARREN_BUSY -7", "#define WARREN_BUSY -7\n#define WARREN_MORE -10"),
        ("struct warren_burst {", "struct warren_more {\n    uint32_t it;\n};\n\nstruct warren_burst {"),
    ];
    for (from, to) in added {
        assert_eq!(changed(from, to), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn a_library_that_lacks_a_function_of_a_version_is_named() {
    let old = kept(&versions().remove(0));
    let replaced = |from: &str, to: &str| {
        let mut newer = old.clone();
        newer.symbols = old.symbols.iter().map(|symbol| symbol.replace(from, to)).collect();
        old.broken_by(&newer)
    };
    let gone = ["libwarren.so lacks warren_close@@WARREN_0.1"];
    assert_eq!(replaced("warren_close@@WARREN_0.1", "warren_close@@WARREN_0.2"), gone);
    assert_eq!(replaced("libwarren.so.0", "libwarren.so.1"), ["libwarren.so lacks libwarren.so.0"]);
    // It has it still, beside a newer one.
    assert_eq!(replaced("warren_open@@", "warren_open@"), Vec::<String>::new());
}
